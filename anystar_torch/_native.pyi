"""Types of the native kernels; one block per kernel, in the order of csrc/bindings.cpp."""

from typing import Any

from numpy.typing import NDArray

def hardware_threads() -> int: ...

class Suppression:
    def __init__(
        self,
        points: NDArray[Any],
        distances: NDArray[Any],
        scores: NDArray[Any],
        vertices: NDArray[Any],
        faces: NDArray[Any],
        nms_thresh: float,
        threads: int,
    ) -> None: ...
    def advance(self, seconds: float) -> int: ...
    def read(self, keep: NDArray[Any]) -> None: ...

def render_labels(
    points: NDArray[Any],
    distances: NDArray[Any],
    vertices: NDArray[Any],
    faces: NDArray[Any],
    labels: NDArray[Any],
    first: int,
    last: int,
    threads: int,
) -> None: ...
