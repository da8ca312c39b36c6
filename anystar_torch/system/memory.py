"""How much memory is free: in the machine, in the control group of this process, on a GPU."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

_SHARE = 0.8  # of a GPU's free memory: the rest is for workspaces of libraries and for fragmentation
_GROUP = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that can still be allocated without swapping.

    In a container or a batch job no more than its control group allows.
    """
    return min(int(psutil.virtual_memory().available), _group_memory())


def resident() -> int:
    """Bytes of memory that this process takes now."""
    return int(psutil.Process().memory_info().rss)


def free_memory(device: torch.device) -> float:
    """Bytes to plan with: most of what is free on a GPU, half of what is free in the machine."""
    if device.type == "cuda":
        return Memory.of(device).budget(None)
    return 0.5 * available_memory()


@dataclass(frozen=True)
class Memory:
    """The memory of a GPU, in bytes.

    Attributes:
        free: what the driver calls free.
        reserved: what torch of this process holds, used or not.
        allocated: what tensors of this process use.
    """

    free: int
    reserved: int
    allocated: int

    @classmethod
    def of(cls, device: torch.device) -> "Memory":
        """Of a CUDA device, now."""
        return cls(
            torch.cuda.mem_get_info(device)[0],
            torch.cuda.memory_reserved(device),
            torch.cuda.memory_allocated(device),
        )

    @property
    def available(self) -> int:
        """What new tensors can take: memory that torch caches counts as free."""
        return self.free + self.reserved - self.allocated

    def budget(self, max_memory: float | int | None) -> float:
        """What a prediction may take: ``max_memory``, tensors that exist included, and never more than is there."""
        most = _SHARE * self.available
        return most if max_memory is None else min(float(max_memory) - self.allocated, most)


def _group_memory(mount: Path = Path("/sys/fs/cgroup")) -> int:
    """What this process's control group (version 2) and those around it leave; very much where there is none."""
    left = 1 << 62
    try:
        name = _GROUP.read_text().strip().rpartition("::")[2].strip("/")
        for group in (mount / name, *(mount / name).parents):
            limit = group / "memory.max"
            if limit.is_file() and (text := limit.read_text().strip()) != "max":
                left = min(left, int(text) - _taken(group))
    except (OSError, ValueError):
        pass
    return max(left, 0)


def _taken(group: Path) -> int:
    """Bytes a control group holds, without the files it merely read lately."""
    cached = (group / "memory.stat").read_text().partition("inactive_file ")[2].split("\n")[0]
    return int((group / "memory.current").read_text()) - int(cached or 0)
