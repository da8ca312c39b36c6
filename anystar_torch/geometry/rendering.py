"""Star-convex polyhedra drawn into a volume of labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.geometry.polyhedra import check_polyhedra, native_array

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays

_VOXELS_AT_A_TIME = (
    1 << 27
)  # slices are drawn in groups of about this many voxels, Ctrl-C is looked at in between


def render_labels(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    rays: "Rays",
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """Draw polyhedra 1..N into a volume; where they overlap, earlier ones win.

    A voxel belongs to a polyhedron when its centre is inside (a centre on a facet is). Parts outside the volume are
    clipped. Equals StarDist's ``polyhedron_to_label(mode="full")`` for polyhedra given in order of falling score,
    except that ids are never renumbered: entry i of the arguments is label i + 1, or hidden entirely.

    Args:
        points: ``[N, 3]`` centres (z, y, x) in voxels, fractions allowed; magnitude below 2^23.
        distances: ``[N, R]`` lengths along the rays in voxels, positive and finite.
        rays: directions and triangles of the polyhedra; R of them.
        shape: (D, H, W) of the volume in voxels.

    Returns:
        int32 ``[D, H, W]``, 0 = background, on the device of ``points``.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value.

    Example:
        >>> labels = ops.render_labels(points, distances, rays, shape=(64, 128, 128))
    """
    check_polyhedra(points, distances, rays)
    if len(shape) != 3 or any(size < 0 for size in shape):
        raise ValueError(f"shape must be three sizes (D, H, W) of at least 0, got {tuple(shape)}")
    labels: Tensor = _render_labels(points, distances, rays.vertices, rays.faces.long(), list(shape))
    return labels


@torch.library.custom_op("anystar::render_labels", mutates_args=())
def _render_labels(
    points: Tensor, distances: Tensor, vertices: Tensor, faces: Tensor, shape: Sequence[int]
) -> Tensor:
    from anystar_torch.kernels import _native

    labels = torch.zeros(tuple(shape), dtype=torch.int32)
    polyhedra = native_array(points), native_array(distances), native_array(vertices), native_array(faces)
    depth = max(1, _VOXELS_AT_A_TIME // max(1, shape[1] * shape[2]))
    for first in range(0, max(shape[0], 1), depth):
        last = min(first + depth, shape[0])
        _native.render_labels(*polyhedra, labels.numpy(), first, last, torch.get_num_threads())
    return labels.to(points.device)


@_render_labels.register_fake
def _(points: Tensor, distances: Tensor, vertices: Tensor, faces: Tensor, shape: Sequence[int]) -> Tensor:
    return points.new_empty(tuple(shape), dtype=torch.int32)
