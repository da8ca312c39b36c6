"""The two thresholds that segment labelled volumes best, and the scores they reach.

Suppression is greedy by score, so what survives above a probability threshold is the beginning of what survives above a
lower one: one suppression and one rendering per volume and overlap threshold serve all probability thresholds. Where
shapes are averaged they take in the candidates down to the lowest threshold tried, which moves about a hundredth of the
voxels against a prediction at the threshold itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anystar_torch.evaluation.matching import (
    IOU_THRESHOLDS,
    SMALLEST_TRUTH,
    ContingencyTable,
    Matching,
    combine,
)
from anystar_torch.inference.instances import instances
from anystar_torch.inference.predictor import AnyStar

PROB_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 18))
NMS_THRESHOLDS = (0.3, 0.4, 0.5)  # StarDist's choices

Pair = tuple[NDArray[np.float32], NDArray[np.int32]]
Scores = dict[float, Matching]


@dataclass(frozen=True)
class Choice:
    """A pair of thresholds and what it reaches.

    Attributes:
        prob_thresh: of the probability.
        nms_thresh: of the overlap.
        scores: IoU threshold -> mean scores over the volumes: each counts alike, however many objects it has.
    """

    prob_thresh: float
    nms_thresh: float
    scores: Scores

    @property
    def accuracy(self) -> float:
        """The mean of AP over the IoU thresholds, which StarDist maximises too."""
        return float(np.mean([score.accuracy for score in self.scores.values()]))


def scores_of(truth: NDArray[np.int32], prediction: NDArray[np.int32]) -> Scores:
    """IoU threshold -> matching of one volume, crumbs of the truth left out."""
    table = ContingencyTable.of(truth, prediction).without_small(SMALLEST_TRUTH)
    return {thresh: table.matching(thresh) for thresh in IOU_THRESHOLDS}


def evaluate(
    model: AnyStar,
    pairs: Iterable[Pair],
    prob_threshs: Sequence[float],
    nms_threshs: Sequence[float],
    device: str = "auto",
) -> list[Choice]:
    """Mean scores over all ``pairs`` of every combination of thresholds.

    Args:
        model: the network; volumes are taken at the scale it was trained for.
        pairs: image and true labels ``[D, H, W]`` each.
        prob_threshs: probability thresholds to try.
        nms_threshs: overlap thresholds to try.
        device: what :meth:`AnyStar.predict` takes.
    """
    middle = model.config.diameter_band[1]
    found: dict[tuple[float, float], list[Scores]] = {}
    for image, truth in pairs:
        candidates, _ = model.candidates(
            image, diameter=middle, prob_thresh=min(prob_threshs), device=device, progress=False
        )
        for nms in nms_threshs:
            objects = instances(candidates, nms, averaged=model.averaged)
            for prob in prob_threshs:
                kept = int(np.count_nonzero(objects.scores > prob))
                prediction = np.where(objects.labels <= kept, objects.labels, 0)
                found.setdefault((prob, nms), []).append(scores_of(truth, prediction))
    return [
        Choice(
            prob, nms, {t: combine([scores[t] for scores in volumes], by_image=True) for t in IOU_THRESHOLDS}
        )
        for (prob, nms), volumes in found.items()
    ]


def best(choices: Sequence[Choice]) -> Choice:
    """The combination with the highest mean AP; the first of equals."""
    return max(choices, key=lambda choice: choice.accuracy)
