"""Kernel of non-maximum suppression of star-convex polyhedra.

C++: ``csrc/nms.hpp``, after Weigert et al., WACV 2020. There is no GPU kernel: tensors of another device are copied to
the host. :func:`anystar_torch.kernels.polyhedra.nms` is the reference. Both keep the same candidates.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from anystar_torch.kernels.native import native_array

if TYPE_CHECKING:
    from anystar_torch.kernels._native import Suppression

_SLICE_SECONDS = 0.2  # of native work between two checks for Ctrl-C and two calls of the progress callback

Progress = Callable[[int, int], object]
"""Called as ``progress(done, total)``."""


def nms(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    scores: Float32[Tensor, " n"],
    vertices: Float32[Tensor, "rays 3"],
    faces: Int64[Tensor, "faces 3"],
    nms_thresh: float,
    progress: Progress | None,
) -> Bool[Tensor, " n"]:
    """Mask of the candidates that stay.

    Args:
        points: ``[N, 3]`` centres (z, y, x), voxels.
        distances: ``[N, R]`` lengths along the rays, voxels.
        scores: ``[N]``.
        vertices: ``[R, 3]`` directions.
        faces: ``[F, 3]`` triangles, indices into ``vertices``.
        nms_thresh: largest overlap that survives, in [0, 1].
        progress: called between chunks of the work; None for no calls, which torch.compile needs.
    """
    if progress is not None:
        return _suppress(points, distances, scores, vertices, faces, nms_thresh, progress)
    keep: Tensor = _nms(points, distances, scores, vertices, faces, nms_thresh)
    return keep


@torch.library.custom_op("anystar::nms", mutates_args=())
def _nms(
    points: Tensor, distances: Tensor, scores: Tensor, vertices: Tensor, faces: Tensor, nms_thresh: float
) -> Tensor:
    return _suppress(points, distances, scores, vertices, faces, nms_thresh, None)


@_nms.register_fake
def _(
    points: Tensor, distances: Tensor, scores: Tensor, vertices: Tensor, faces: Tensor, nms_thresh: float
) -> Tensor:
    return points.new_empty(points.shape[:1], dtype=torch.bool)


def _suppress(
    points: Tensor,
    distances: Tensor,
    scores: Tensor,
    vertices: Tensor,
    faces: Tensor,
    nms_thresh: float,
    progress: Progress | None,
) -> Tensor:
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


def empty_suppression(
    vertices: Float32[Tensor, "rays 3"],
    faces: Int64[Tensor, "faces 3"],
    nms_thresh: float,
    cache_bytes: int = 1 << 30,
) -> "Suppression":
    """A native suppression without candidates, to which rounds of candidates are given.

    Args:
        vertices: ``[R, 3]`` directions.
        faces: ``[F, 3]`` triangles, indices into ``vertices``.
        nms_thresh: largest overlap that survives, in [0, 1].
        cache_bytes: memory for voxels of survivors; those of others are computed again when they are needed.
    """
    from anystar_torch.kernels import _native

    points, distances, scores = (
        torch.empty(0, *size, dtype=torch.float32, device="cpu") for size in ((3,), (len(vertices),), ())
    )
    return _native.Suppression(
        points.numpy(),
        distances.numpy(),
        scores.numpy(),
        native_array(vertices),
        native_array(faces),
        nms_thresh,
        torch.get_num_threads(),
        cache_bytes,
    )


def advance(work: "Suppression", total: int, progress: Progress | None) -> UInt8[Tensor, " n"]:
    """Work until every candidate of a round is decided or stays open. Ctrl-C is honoured between two steps.

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
    states = torch.empty(total, dtype=torch.uint8, device="cpu")
    work.read(states.numpy())
    return states
