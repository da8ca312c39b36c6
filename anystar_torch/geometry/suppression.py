"""Non-maximum suppression of star-convex polyhedra."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from anystar_torch.geometry.polyhedra import check_polyhedra, native_array

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays
    from anystar_torch.kernels._native import Suppression

_SLICE_SECONDS = 0.2  # of native work between two looks at Ctrl-C and the progress callback

Progress = Callable[[int, int], object]


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
    inputs = (points, distances, scores, rays.vertices, rays.faces.long(), float(nms_thresh))
    if progress is not None:
        return _suppress(*inputs, progress=progress)
    keep: Tensor = _nms(*inputs)
    return keep


@torch.library.custom_op("anystar::nms", mutates_args=())
def _nms(
    points: Tensor, distances: Tensor, scores: Tensor, vertices: Tensor, faces: Tensor, nms_thresh: float
) -> Tensor:
    return _suppress(points, distances, scores, vertices, faces, nms_thresh, progress=None)


@_nms.register_fake
def _(
    points: Tensor, distances: Tensor, scores: Tensor, vertices: Tensor, faces: Tensor, nms_thresh: float
) -> Tensor:
    return points.new_empty(points.shape[:1], dtype=torch.bool)


def _suppress(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    scores: Float32[Tensor, " n"],
    vertices: Float32[Tensor, "rays 3"],
    faces: Int64[Tensor, "faces 3"],
    nms_thresh: float,
    *,
    progress: Progress | None,
) -> Bool[Tensor, " n"]:
    from anystar_torch.kernels import _native

    work = _native.Suppression(
        native_array(points),
        native_array(distances),
        native_array(scores),
        native_array(vertices),
        native_array(faces),
        nms_thresh,
        torch.get_num_threads(),
    )
    return (advance(work, points.shape[0], progress) == 1).to(points.device)


def advance(work: "Suppression", total: int, progress: Progress | None) -> UInt8[Tensor, " n"]:
    """Work until all candidates of a round are decided or stay open; Ctrl-C is honoured between two steps.

    Args:
        work: a native suppression.
        total: number of candidates of its round.
        progress: called as ``progress(done, total)``.

    Returns:
        0 for a candidate that goes, 1 for one that survives, 2 for one that stays open.
    """
    done = 0
    while done < total:
        done = work.advance(_SLICE_SECONDS)
        if progress is not None:
            progress(done, total)
    states = torch.empty(total, dtype=torch.uint8)
    work.read(states.numpy())
    return states
