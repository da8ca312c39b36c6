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

    Candidates are decided in order of falling score, then of rising z, y, x, then of distances. A candidate is removed
    if its overlap with a better one that stays is above ``nms_thresh``. The overlap is the number of voxel centres
    inside both (a centre on a facet is inside), divided by the smaller of the two analytic volumes. The result depends
    neither on the order of the arguments nor on the number of threads (``torch.get_num_threads``).

    This is StarDist's 3D suppression (Weigert et al. 2020) with one difference. StarDist replaces the voxel count by
    analytic bounds where those decide, which changes its overlap by up to 0.035.

    Tensors of another device are copied to the CPU. Ctrl-C ends the call within about a second.

    Args:
        points: ``[N, 3]`` centres (z, y, x) in voxels, fractions allowed; magnitude below 2^23.
        distances: ``[N, R]`` lengths along the rays in voxels, positive and finite.
        scores: ``[N]`` finite; higher is better.
        rays: directions and triangles of the polyhedra; R of them.
        nms_thresh: largest overlap that survives, in [0, 1].
        progress: called as ``progress(done, total)`` about five times a second, and once at the end. An exception that
            it raises ends the call.

    Returns:
        Bool ``[N]``, True for candidates that stay, on the device of ``points``.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value, or a polyhedron whose box is larger than 2^33 voxels or longer than
            2^20.

    Examples:
        Three balls of radius 5. The first two overlap, and the second has the higher score:

        >>> import torch
        >>> from anystar_torch import Rays, ops
        >>> rays = Rays.golden_spiral(32)
        >>> points = torch.tensor([[8.0, 8.0, 8.0], [8.0, 8.0, 9.0], [8.0, 8.0, 20.0]])
        >>> distances = torch.full((3, 32), 5.0)
        >>> scores = torch.tensor([0.7, 0.9, 0.8])
        >>> ops.nms(points, distances, scores, rays, nms_thresh=0.4)
        tensor([False,  True,  True])
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
