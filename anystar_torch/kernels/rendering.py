"""Kernel that draws star-convex polyhedra into a volume of labels.

C++: ``csrc/render.hpp``, ``csrc/polyhedron.hpp``. There is no GPU kernel: tensors of another device are copied to the
host. :func:`anystar_torch.kernels.polyhedra.render_labels` is the reference. Both give the same labels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from anystar_torch.kernels.native import native_array

_VOXELS_AT_A_TIME = 1 << 27
"""Slices are drawn in groups of about this many voxels. Ctrl-C is honoured between two groups."""


def render_labels(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    vertices: Float32[Tensor, "rays 3"],
    faces: Int64[Tensor, "faces 3"],
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """Labels 1..N of the polyhedra; where two overlap, the earlier one wins.

    Args:
        points: ``[N, 3]`` centres (z, y, x), voxels.
        distances: ``[N, R]`` lengths along the rays, voxels.
        vertices: ``[R, 3]`` directions.
        faces: ``[F, 3]`` triangles, indices into ``vertices``.
        shape: (D, H, W), voxels.
    """
    labels: Tensor = _render_labels(points, distances, vertices, faces, list(shape))
    return labels


@torch.library.custom_op("anystar::render_labels", mutates_args=())
def _render_labels(
    points: Tensor, distances: Tensor, vertices: Tensor, faces: Tensor, shape: Sequence[int]
) -> Tensor:
    from anystar_torch.kernels import _native

    labels = torch.zeros(tuple(shape), dtype=torch.int32, device="cpu")
    polyhedra = native_array(points), native_array(distances), native_array(vertices), native_array(faces)
    depth = max(1, _VOXELS_AT_A_TIME // max(1, shape[1] * shape[2]))
    for first in range(0, max(shape[0], 1), depth):
        last = min(first + depth, shape[0])
        _native.render_labels(*polyhedra, labels.numpy(), first, last, torch.get_num_threads())
    return labels.to(points.device)


@_render_labels.register_fake
def _(points: Tensor, distances: Tensor, vertices: Tensor, faces: Tensor, shape: Sequence[int]) -> Tensor:
    return points.new_empty(tuple(shape), dtype=torch.int32)


def render_box(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    vertices: Float32[Tensor, "rays 3"],
    faces: Int64[Tensor, "faces 3"],
    low: Sequence[int],
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """Labels 1..N of the polyhedra in a box of the volume; where two overlap, the earlier one wins.

    Args:
        points: ``[N, 3]`` centres (z, y, x), voxels of the volume.
        distances: ``[N, R]`` lengths along the rays, voxels.
        vertices: ``[R, 3]`` directions.
        faces: ``[F, 3]`` triangles, indices into ``vertices``.
        low: first voxel of the box.
        shape: (D, H, W) of the box, voxels.
    """
    from anystar_torch.kernels import _native

    labels = torch.zeros(tuple(shape), dtype=torch.int32, device="cpu")
    polyhedra = native_array(points), native_array(distances), native_array(vertices), native_array(faces)
    z, y, x = low
    _native.render_labels(*polyhedra, labels.numpy(), 0, shape[0], torch.get_num_threads(), (z, y, x))
    return labels
