"""From candidates to objects: one suppression, then rendering at the input's resolution."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from anystar_torch.geometry.ops import render_labels
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.suppression import nms
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.shape_averaging import consensus
from anystar_torch.system.progress import bar


@dataclass(frozen=True)
class Instances:
    """The objects found, in the input's voxels; object k of the arrays is label k + 1.

    Attributes:
        labels: int32 ``[D, H, W]``, 0 = background, 1..N; where polyhedra overlap, the better score has the
            voxel.
        points: float32 ``[N, 3]``, centres (z, y, x).
        distances: float32 ``[N, R]``, along ``rays``, in input voxels.
        scores: float32 ``[N]`` in [0, 1], descending.
        rays: unit directions in the input; turned against the network's where the voxels are not cubes.
        prob_thresh: the probability threshold that was used.
        nms_thresh: the overlap threshold that was used.
        diameter: the object size that was assumed, in voxels of the finest axis.
        notes: how the size was chosen, and what to be careful about.
    """

    labels: NDArray[np.int32]
    points: NDArray[np.float32]
    distances: NDArray[np.float32]
    scores: NDArray[np.float32]
    rays: Rays
    prob_thresh: float
    nms_thresh: float
    diameter: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)


def checked_overlap(nms_thresh: float | int) -> float:
    """``nms_thresh``, if it is a share.

    Raises:
        ValueError: it is not in [0, 1].
    """
    if not 0 <= nms_thresh <= 1:
        raise ValueError(f"nms_thresh must be between 0 and 1, got {nms_thresh}")
    return float(nms_thresh)


def instances(
    candidates: Candidates,
    nms_thresh: float | int,
    *,
    averaged: bool = True,
    progress: bool = False,
    notes: tuple[str, ...] = (),
) -> Instances:
    """Suppress and render.

    Args:
        candidates: of one volume; cut them with :meth:`Candidates.above` first for a higher probability
            threshold.
        nms_thresh: overlap (intersection over the smaller volume) above which the lesser candidate goes, 0 to
            1.
        averaged: whether an object's shape is the mean over the candidates around its centre
            (:func:`~anystar_torch.inference.shape_averaging.consensus`), or that of the best one alone, as in StarDist.
        progress: whether to draw progress bars.
        notes: passed through to the result.

    Returns:
        The objects. A polyhedron that has no voxel of its own (smaller than one, or covered) is left out.
    """
    nms_thresh = checked_overlap(nms_thresh)
    kept = suppress(candidates, nms_thresh, progress)
    rays, growth = candidates.scaling.rays(candidates.rays)
    points = candidates.scaling.points(candidates.points[kept])
    own = consensus(candidates, kept) if averaged else candidates.distances[kept].astype(np.float32)
    distances = own * growth
    shape = candidates.scaling.source
    labels = np.zeros(shape, np.int32)
    if len(points):
        drawn = render_labels(torch.from_numpy(points), torch.from_numpy(distances), rays, shape)
        labels = drawn.cpu().numpy()
    seen = np.zeros(len(points) + 1, bool)
    for plane in labels:  # plane by plane: no copy of the volume is made
        seen[plane] = True
    seen = seen[1:]
    if not seen.all():
        order = np.concatenate([[0], np.where(seen, np.cumsum(seen), 0)]).astype(np.int32)
        for plane in labels:
            plane[...] = order[plane]
    return Instances(
        labels, points[seen], distances[seen], candidates.scores[kept][seen], rays,
        candidates.prob_thresh, nms_thresh, candidates.diameter, notes,
    )  # fmt: skip


def suppress(candidates: Candidates, nms_thresh: float | int, progress: bool = False) -> NDArray[np.bool_]:
    """Which candidates survive, ``[N]``."""
    if not len(candidates.scores):
        return np.zeros(0, bool)
    with bar("suppressing", progress) as tick:
        keep = nms(
            torch.from_numpy(candidates.points),
            torch.from_numpy(candidates.distances.astype(np.float32)),
            torch.from_numpy(candidates.scores),
            candidates.rays,
            nms_thresh,
            progress=tick,
        )
    kept: NDArray[np.bool_] = keep.cpu().numpy()
    return kept
