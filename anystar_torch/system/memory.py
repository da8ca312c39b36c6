"""Free memory of the machine, of the control group of this process, and of a GPU."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

_SHARE = 0.8  # of a GPU's free memory; the rest is for workspaces of libraries and for fragmentation
_GROUP = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that can be allocated without swapping, within the limit of a container or a batch job."""
    return min(int(psutil.virtual_memory().available), _group_memory())


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Memory:
    """The memory of a GPU, in bytes.

    Attributes:
        free: free memory according to the driver.
        reserved: memory that torch holds in this process, used or not.
        allocated: memory that tensors of this process use.
    """

    free: int
    reserved: int
    allocated: int

    @classmethod
    def of(cls, device: torch.device) -> "Memory":
        """The present state of a CUDA device.

        Args:
            device: a CUDA device.
        """
        return cls(
            torch.cuda.mem_get_info(device)[0],
            torch.cuda.memory_reserved(device),
            torch.cuda.memory_allocated(device),
        )

    @property
    def available(self) -> int:
        """Memory for new tensors; memory that torch caches counts as free."""
        return self.free + self.reserved - self.allocated

    def budget(self, max_memory: float | int | None) -> float:
        """Memory for new tensors of a prediction.

        Args:
            max_memory: limit in bytes for all tensors, existing ones included; None for no limit.
        """
        most = _SHARE * self.available
        return most if max_memory is None else min(float(max_memory) - self.allocated, most)


def _group_memory(mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the control groups (version 2) of this process still allow; 2^62 where there are none."""
    left = 1 << 62
    try:
        name = _GROUP.read_text(encoding="utf-8").strip().rpartition("::")[2].strip("/")
        for group in (mount / name, *(mount / name).parents):
            limit = group / "memory.max"
            if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()) != "max":
                left = min(left, int(text) - _taken(group))
    except (OSError, ValueError):
        pass
    return max(left, 0)


def _taken(group: Path) -> int:
    """Bytes that a control group uses, without cached files."""
    cached = (group / "memory.stat").read_text(encoding="utf-8").partition("inactive_file ")[2].split("\n")[0]
    return int((group / "memory.current").read_text(encoding="utf-8")) - int(cached or 0)
