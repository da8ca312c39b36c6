"""What the sections of ``benchmarks.gpu`` share: clocks, rows, the handling of errors."""

import gc
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Timing, timed


class Bench:
    """A section being measured.

    Args:
        section: its name.
        smoke: whether everything runs on the CPU with tiny sizes.
        seconds: time for the section; measurements that would begin later are rows with an error.

    Attributes:
        device: the device that is measured.
        size: side of a sample, voxels.
    """

    def __init__(self, section: str, *, smoke: bool, seconds: float) -> None:
        self.section, self.began, self.seconds = section, time.perf_counter(), seconds
        self.smoke = smoke or not torch.cuda.is_available()
        self.device = torch.device("cpu" if self.smoke else "cuda")
        self.size = 32 if self.smoke else 64

    @contextmanager
    def row(self, name: str) -> Iterator[dict[str, Any]]:
        """The figures of one measurement, printed at the end; an exception is printed as the figure "error"."""
        figures: dict[str, Any] = {"section": self.section, "name": name}
        try:
            self._begin()
            yield figures
            figures |= self._memory()
        except Exception as error:
            figures["error"] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]
            traceback.print_exc(limit=-4)
        print_row(figures)

    @property
    def left(self) -> float:
        """Seconds of the section that are left."""
        return self.began + self.seconds - time.perf_counter()

    def skip(self, name: str) -> bool:
        """Whether the time of the section is over; if so, print a row that says it."""
        if self.left > 0:
            return False
        print_row({"section": self.section, "name": name, "error": "no time left"})
        return True

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, function: Callable[[], Any], *, seconds: float = 1.0, warm_up: int = 2) -> Timing:
        """Time calls of ``function`` on the device, for about ``seconds``, 3 to 50 of them, after a warm-up."""
        for _ in range(1 if self.smoke else warm_up):
            function()
        self.wait()
        taken: list[float] = []
        while len(taken) < (1 if self.smoke else 3) or (sum(taken) < seconds and len(taken) < 50):
            taken.append(timed(function, self.device))
            if self.smoke or self.left < 0:
                break
        return Timing.of(taken)

    def _begin(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _memory(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        torch.cuda.synchronize()
        return {"peak GiB": torch.cuda.max_memory_allocated() / 2**30}


class Replayed:
    """``make`` of ids, captured as a CUDA graph that is replayed with new ids.

    Args:
        make: ids ``[B]`` on the GPU to tensors.
        batch: number of ids B.

    Raises:
        RuntimeError: the work cannot be captured.
    """

    def __init__(self, make: Callable[[Tensor], tuple[Tensor, ...]], batch: int) -> None:
        self.ids = torch.arange(batch, device="cuda")
        self.batch = batch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # plans of Fourier transforms, compilation of kernels
                make(self.ids)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.made = make(self.ids)

    def __call__(self) -> tuple[Tensor, ...]:
        """Tensors of the next batch of ids, in the same memory as those of the previous batch."""
        self.graph.replay()
        self.ids.add_(self.batch)
        return self.made


def print_row(figures: dict[str, Any]) -> None:
    """Print a row for the process that collects.

    Row and line break are one write: what another thread prints does not come between them.
    """
    print(f"ROW {json.dumps(figures)}\n", end="", flush=True)


def say(*words: Any) -> None:
    """Print a line between the rows."""
    print(*words, flush=True)
