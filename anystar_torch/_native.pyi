"""Types of the native kernels; one block per kernel, in the order of csrc/bindings.cpp."""

from typing import Any

from numpy.typing import NDArray

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
        cache_bytes: int = 1 << 30,
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
def star_distances(
    labels: NDArray[Any], vertices: NDArray[Any], gz: int, gy: int, gx: int, out: NDArray[Any], threads: int
) -> None: ...
def distance_transform(
    labels: NDArray[Any], z: float, y: float, x: float, out: NDArray[Any], threads: int
) -> None: ...
def object_probability(
    labels: NDArray[Any],
    gz: int,
    gy: int,
    gx: int,
    z: float,
    y: float,
    x: float,
    out: NDArray[Any],
    threads: int,
) -> None: ...
def connected_components(labels: NDArray[Any], min_voxels: int, out: NDArray[Any], threads: int) -> None: ...
def remove_small(labels: NDArray[Any], min_voxels: int, out: NDArray[Any], threads: int) -> None: ...
def weighted_error(
    distances: NDArray[Any],
    target: NDArray[Any],
    on_error: NDArray[Any],
    on_size: NDArray[Any],
    gradient: NDArray[Any],
    threads: int,
) -> float: ...
