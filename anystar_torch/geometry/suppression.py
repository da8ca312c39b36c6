"""Non-maximum suppression of star-convex polyhedra."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.geometry.checks import check_polyhedra
from anystar_torch.kernels import suppression as kernel
from anystar_torch.kernels.suppression import Progress

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays


def nms(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    scores: Float32[Tensor, " n"],
    rays: "Rays",
    nms_thresh: float,
    progress: Progress | None = None,
) -> Bool[Tensor, " n"]:
    """Keep the best of every group of polyhedra that overlap too much.

    Greedy, in order of falling score (ties by rising z, y, x, then distances, so the order of arrival never matters):
    a candidate goes if a better one that stays shares more than ``nms_thresh`` of the smaller one's volume with it.
    The shared volume is the number of voxel centres inside both (a centre on a facet is inside), the volumes are
    analytic. The result does not depend on the number of threads (``torch.get_num_threads``).

    This is StarDist's 3D suppression (Weigert et al. 2020) with one difference: StarDist replaces the voxel count by
    analytic bounds where those decide, which moves its overlap by up to 0.035.

    Args:
        points: ``[N, 3]`` centres (z, y, x) in voxels, fractions allowed; magnitude below 2^23.
        distances: ``[N, R]`` lengths along the rays in voxels, positive and finite.
        scores: ``[N]`` finite; higher is better.
        rays: directions and triangles of the polyhedra; R of them.
        nms_thresh: largest overlap that survives, in [0, 1]; overlap is the intersection over the smaller volume.
        progress: called as ``progress(done, total)`` between chunks of the work, about five times a second, and once
            at the end; what it raises ends the call.

    Returns:
        Bool ``[N]``, True for candidates that stay, in the given order, on the device of ``points``.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value, or a polyhedron whose box is larger than 2^33 voxels.

    Ctrl-C is honoured within about a second. Tensors on another device are computed on the CPU.

    Example:
        >>> keep = ops.nms(points, distances, scores, rays, nms_thresh=0.4)
        >>> points[keep]
    """
    check_polyhedra(points, distances, rays)
    if scores.shape != points.shape[:1]:
        raise ValueError(f"scores must be [{points.shape[0]}], one per point, got {list(scores.shape)}")
    if scores.dtype != torch.float32:
        raise TypeError(f"scores must be float32, got {scores.dtype}")
    if not 0.0 <= nms_thresh <= 1.0:
        raise ValueError(f"nms_thresh must lie in [0, 1], got {nms_thresh}")
    triangles = rays.vertices, rays.faces.long()
    return kernel.nms(points, distances, scores, *triangles, float(nms_thresh), progress)
