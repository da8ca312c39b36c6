"""Overlaps of pairs of star-convex polyhedra, as the suppression computes them."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from anystar_torch.geometry.checks import check_polyhedra
from anystar_torch.kernels.native import native_array

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays


def shared_voxels(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    rays: "Rays",
    pairs: Int64[Tensor, "m 2"],
) -> tuple[Int64[Tensor, " m"], Float64[Tensor, " m"]]:
    """Number of voxels inside both polyhedra of each pair, and the smaller of their volumes.

    The overlap is their ratio. :func:`~anystar_torch.geometry.suppression.nms` removes the worse of two candidates if
    the first number is above ``nms_thresh`` times the second.

    Args:
        points: centres (z, y, x) in voxels, magnitude below 2^23.
        distances: lengths along the rays in voxels, positive and finite.
        rays: directions and triangles of the polyhedra.
        pairs: two indices of polyhedra each. The work is less if pairs with the same first index are neighbours.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value, an index out of range, or a polyhedron whose box is larger than 2^33
            voxels or longer than 2^20.
    """
    from anystar_torch.kernels import _native

    check_polyhedra(points, distances, rays)
    shared = torch.empty(len(pairs), dtype=torch.int64, device="cpu")
    smaller = torch.empty(len(pairs), dtype=torch.float64, device="cpu")
    polyhedra = native_array(points), native_array(distances)
    triangles = native_array(rays.vertices), native_array(rays.faces.long())
    results = shared.numpy(), smaller.numpy()
    _native.overlaps(*polyhedra, *triangles, native_array(pairs), *results, torch.get_num_threads())
    return shared, smaller
