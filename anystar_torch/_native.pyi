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
def connected_components(labels: NDArray[Any], out: NDArray[Any], threads: int) -> None: ...
def remove_small(labels: NDArray[Any], min_voxels: int, out: NDArray[Any], threads: int) -> None: ...
def evaluate_coordinates(
    displacement: NDArray[Any],
    parameters: NDArray[Any],
    limits: bytes,
    position: NDArray[Any],
    piece: NDArray[Any],
    cover: NDArray[Any],
    fraction: NDArray[Any],
    threads: int,
) -> None: ...
def weighted_error(
    distances: NDArray[Any],
    target: NDArray[Any],
    on_error: NDArray[Any],
    on_size: NDArray[Any],
    gradient: NDArray[Any],
    threads: int,
) -> float: ...
def lattice_quantiles(
    image: NDArray[Any], step: int, dark: NDArray[Any], bright: NDArray[Any], limits: NDArray[Any], threads: int
) -> None: ...
def cut_holes(field: NDArray[Any], corner: NDArray[Any], size: NDArray[Any], threads: int) -> None: ...

# Kernels of intensity effects (bindings_effects.cpp) are called by name: anystar_torch.augment.native.run_native.
