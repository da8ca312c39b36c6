"""Rendering of star-convex polyhedra into a volume of labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.geometry.checks import check_polyhedra
from anystar_torch.kernels import rendering as kernel

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays


def render_labels(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    rays: "Rays",
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """Draw polyhedra 1..N into a volume; where they overlap, earlier ones win.

    A voxel belongs to a polyhedron when its centre is inside; a centre on a facet is inside. Parts outside the volume
    are clipped. For polyhedra in order of falling score the result equals StarDist's
    ``polyhedron_to_label(mode="full")``, except that ids are not renumbered. Entry i of the arguments is label i + 1,
    unless other polyhedra hide it.

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

    Examples:
        Two balls that overlap; voxels of both belong to the first:

        >>> import torch
        >>> from anystar_torch import Rays, ops
        >>> rays = Rays.golden_spiral(32)
        >>> points = torch.tensor([[6.0, 6.0, 6.0], [6.0, 6.0, 12.0]])
        >>> labels = ops.render_labels(points, torch.full((2, 32), 5.0), rays, shape=(13, 13, 19))
        >>> labels[6, 6]
        tensor([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0],
               dtype=torch.int32)
    """
    check_polyhedra(points, distances, rays)
    if len(shape) != 3 or any(size < 0 for size in shape):
        raise ValueError(f"shape must be three sizes (D, H, W) of at least 0, got {tuple(shape)}")
    return kernel.render_labels(points, distances, rays.vertices, rays.faces.long(), shape)


def render_box(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    rays: "Rays",
    low: Sequence[int],
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """Draw polyhedra 1..N into a box of a volume: the same voxels as :func:`render_labels`, cropped.

    Polyhedra keep their coordinates in the whole volume. To move them into the box would round them.

    Args:
        points: ``[N, 3]`` centres (z, y, x) in voxels of the volume.
        distances: ``[N, R]`` lengths along the rays in voxels, positive and finite.
        rays: directions and triangles of the polyhedra; R of them.
        low: first voxel (z, y, x) of the box.
        shape: (D, H, W) of the box in voxels.

    Returns:
        int32 ``[D, H, W]``, 0 = background, on the CPU.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value.
    """
    check_polyhedra(points, distances, rays)
    return kernel.render_box(points, distances, rays.vertices, rays.faces.long(), low, shape)
