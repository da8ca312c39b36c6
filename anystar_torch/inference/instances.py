"""Objects in the voxels of the input: scaled from the network's voxels, and rendered."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32

from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.rendering import render_labels
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.object_size import SizeEstimate
from anystar_torch.inference.shape_averaging import average_shapes
from anystar_torch.inference.warnings import PredictionWarning


@dataclass(frozen=True)
class Instances:
    """The objects of a volume, in input voxels. Object k of the arrays has the label k + 1.

    Attributes:
        labels: instance map, 0 = background; where polyhedra overlap, the voxel belongs to the higher score.
        points: centres (z, y, x).
        distances: distances along ``rays``.
        scores: scores in [0, 1], descending.
        rays: unit directions in the input. They differ from the network's where the scaling is anisotropic.
        prob_thresh: probability threshold that was used.
        nms_thresh: overlap threshold that was used.
        diameter: object size that was given, estimated or assumed, in voxels of the finest axis.
        estimate: how the diameter was estimated; None if it was not.
        warnings: reasons to check the result.
    """

    labels: Int32[np.ndarray, "d h w"]
    points: Float32[np.ndarray, "n 3"]
    distances: Float32[np.ndarray, "n r"]
    scores: Float32[np.ndarray, " n"]
    rays: Rays
    prob_thresh: float
    nms_thresh: float
    diameter: float
    estimate: SizeEstimate | None = None
    warnings: tuple[PredictionWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)


def render_instances(
    candidates: Candidates,
    kept: Bool[np.ndarray, " n"],
    nms_thresh: float,
    shape_averaging: bool,
    averages: Float32[np.ndarray, "k r"] | None = None,
) -> Instances:
    """The survivors of the suppression as objects of the input.

    A polyhedron without a voxel of its own, because it is small or covered, is left out.

    Args:
        candidates: all candidates of the volume.
        kept: which of them survive.
        nms_thresh: overlap threshold that was used.
        shape_averaging: whether an object's shape is the mean over the candidates around its centre
            (:func:`~anystar_torch.inference.shape_averaging.average_shapes`). Otherwise it is that of the best one, as
            in StarDist.
        averages: result of ``average_shapes`` for these candidates, where it is known already.
    """
    rays, growth = candidates.scaling.rays(candidates.rays)
    points = candidates.scaling.points(candidates.points[kept])
    if averages is not None:
        own = averages
    elif shape_averaging:
        own = average_shapes(candidates, kept)
    else:
        own = candidates.distances[kept].astype(np.float32)
    distances = own * growth
    shape = candidates.scaling.source
    labels = np.zeros(shape, np.int32)
    if len(points):
        drawn = render_labels(torch.from_numpy(points), torch.from_numpy(distances), rays, shape)
        labels = drawn.cpu().numpy()
    visible = _make_dense(labels, len(points))
    return Instances(
        labels=labels,
        points=points[visible],
        distances=distances[visible],
        scores=candidates.scores[kept][visible],
        rays=rays,
        prob_thresh=candidates.prob_thresh,
        nms_thresh=nms_thresh,
        diameter=candidates.diameter,
        estimate=candidates.estimate,
        warnings=candidates.warnings,
    )


def _make_dense(labels: Int32[np.ndarray, "d h w"], count: int) -> Bool[np.ndarray, " {count}"]:
    """Which of the ids 1 to ``count`` occur; renumbers them without gaps, in place and plane by plane."""
    occurs = np.zeros(count + 1, bool)
    for plane in labels:
        occurs[plane] = True
    occurs = occurs[1:]
    if not occurs.all():
        order = np.concatenate([[0], np.where(occurs, np.cumsum(occurs), 0)]).astype(np.int32)
        for plane in labels:
            plane[...] = order[plane]
    return occurs
