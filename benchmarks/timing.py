"""The clock of all benchmarks: one call, repeated calls, calls of several functions in turn."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

PAUSE = 0.05  # seconds before a call: OpenMP's workers spin for some milliseconds after one, and take a core meanwhile
CPU = torch.device("cpu")


class Timing(NamedTuple):
    """Seconds of repeated calls."""

    median: float
    least: float
    most: float
    repeats: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """Of the seconds of single calls."""
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


def timed(function: Callable[[], Any], device: torch.device = CPU) -> float:
    """Seconds of one call; on CUDA those between two events, which may wait for the host to start small operators."""
    if device.type != "cuda":
        began = time.perf_counter()
        function()
        return time.perf_counter() - began
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    function()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1e3


def in_turn(
    functions: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    seconds: float = 0.0,
    most: int = 41,
    pause: float = PAUSE,
) -> dict[str, Timing]:
    """Time functions that take turns, so that another load on the machine meets all of them.

    The first call of each is a warm-up and not counted.

    Args:
        functions: name -> function.
        repeats: least number of calls of each.
        seconds: short functions are called until all calls together took this long.
        most: largest number of calls of each.
        pause: seconds before each call.
    """
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    rounds = 0
    while rounds < repeats or (sum(map(sum, taken.values())) < seconds and rounds < most):
        for name, function in functions.items():
            time.sleep(pause)
            taken[name].append(timed(function))
        rounds += 1
    return {name: Timing.of(values) for name, values in taken.items()}
