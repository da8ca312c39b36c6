"""Types of the native kernels; one block per kernel, in the order of csrc/bindings.cpp."""

from collections.abc import Sequence
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
    def begin(
        self,
        points: NDArray[Any],
        distances: NDArray[Any],
        scores: NDArray[Any],
        unfinished: NDArray[Any] | None = None,
        held: NDArray[Any] | None = None,
    ) -> None: ...
    def advance(self, seconds: float) -> int: ...
    def read(self, states: NDArray[Any]) -> None: ...

def overlaps(
    points: NDArray[Any],
    distances: NDArray[Any],
    vertices: NDArray[Any],
    faces: NDArray[Any],
    pairs: NDArray[Any],
    shared: NDArray[Any],
    smaller: NDArray[Any],
    threads: int,
) -> None: ...
def render_labels(
    points: NDArray[Any],
    distances: NDArray[Any],
    vertices: NDArray[Any],
    faces: NDArray[Any],
    labels: NDArray[Any],
    first: int,
    last: int,
    threads: int,
    low: tuple[int, int, int] = (0, 0, 0),
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
    image: NDArray[Any],
    step: int,
    dark: NDArray[Any],
    bright: NDArray[Any],
    limits: NDArray[Any],
    threads: int,
) -> None: ...
def cut_holes(field: NDArray[Any], corner: NDArray[Any], size: NDArray[Any], threads: int) -> None: ...
def sample_lattice(
    fields: NDArray[Any],
    position: NDArray[Any],
    periodic: bool,
    factor: Sequence[float],
    offset: Sequence[float],
    out: NDArray[Any],
    threads: int,
) -> None: ...
def strongest_field(
    fields: NDArray[Any],
    counts: NDArray[Any],
    warp: NDArray[Any],
    position: NDArray[Any],
    half: Sequence[float],
    out: NDArray[Any],
    threads: int,
) -> None: ...
def resampled_sum(levels: Sequence[NDArray[Any]], out: NDArray[Any], threads: int) -> None: ...
def gradient_noise(gradients: NDArray[Any], samples: int, out: NDArray[Any], threads: int) -> None: ...
def aim_at_balls(
    centre: NDArray[Any],
    radius: NDArray[Any],
    pitch: NDArray[Any],
    position: NDArray[Any],
    origin: Sequence[float],
    ball: NDArray[Any],
    centre_out: NDArray[Any],
    radius_out: NDArray[Any],
    direction: NDArray[Any],
    distance: NDArray[Any],
    threads: int,
) -> None: ...
def star_reach(
    ball: NDArray[Any],
    radius: NDArray[Any],
    direction: NDArray[Any],
    stars: NDArray[Any],
    noise: NDArray[Any],
    half: float,
    bumps: float,
    strength: float,
    out: NDArray[Any],
    threads: int,
) -> None: ...
def emitting(
    depth: NDArray[Any],
    reach: NDArray[Any],
    offset: NDArray[Any],
    most: float,
    out: NDArray[Any],
    threads: int,
) -> None: ...
def intensities(
    objects: NDArray[Any],
    unit: NDArray[Any],
    deviation: NDArray[Any],
    displaced: NDArray[Any],
    texture: NDArray[Any],
    noise: NDArray[Any],
    patch: NDArray[Any],
    means: NDArray[Any],
    deviations: NDArray[Any],
    shading: NDArray[Any],
    mean: NDArray[Any],
    grain: NDArray[Any],
    threads: int,
) -> None: ...

# Kernels of intensity effects (bindings_effects.cpp) are called by name: anystar_torch.kernels.native.run_native.
