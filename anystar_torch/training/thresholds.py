"""Choose the two thresholds that segment labelled volumes best.

Suppression is greedy by score. The objects above a probability threshold are therefore the first of those above a lower
one, and one suppression per volume and overlap threshold serves all probability thresholds. With shape averaging the
averages include candidates down to the lowest threshold. This changes about 1 % of the voxels against a prediction at
the chosen threshold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from anystar_torch.evaluation.matching import IOU_THRESHOLDS, SMALLEST_TRUTH, ContingencyTable
from anystar_torch.evaluation.scores import Matching, combine
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.stages import find_instances

PROB_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 18))  # 0.1 to 0.85
NMS_THRESHOLDS = (0.3, 0.4, 0.5)  # StarDist's choices

Pair = tuple[Float32[np.ndarray, "d h w"], Int32[np.ndarray, "d h w"]]
"""Image and true labels of a volume."""
Scores = dict[float, Matching]


@dataclass(frozen=True)
class Choice:
    """A pair of thresholds and its scores.

    Attributes:
        prob_thresh: threshold of the probability.
        nms_thresh: threshold of the overlap.
        scores: IoU threshold -> mean scores over the volumes. Each volume has the same weight.
    """

    prob_thresh: float
    nms_thresh: float
    scores: Scores

    @property
    def accuracy(self) -> float:
        """Mean AP over the IoU thresholds. StarDist maximises it too."""
        return float(np.mean([score.accuracy for score in self.scores.values()]))


def scores_of(truth: Int32[np.ndarray, "d h w"], prediction: Int32[np.ndarray, "d h w"]) -> Scores:
    """Scores of one volume at every IoU threshold, without very small true objects.

    Args:
        truth: labels ``[D, H, W]``.
        prediction: labels ``[D, H, W]``.
    """
    table = ContingencyTable.of(truth, prediction).without_small(SMALLEST_TRUTH)
    return {thresh: table.matching(thresh) for thresh in IOU_THRESHOLDS}


def evaluate(
    model: AnyStar,
    pairs: Iterable[Pair],
    prob_threshs: Sequence[float],
    nms_threshs: Sequence[float],
    device: str = "auto",
) -> list[Choice]:
    """Mean scores of every combination of thresholds.

    Args:
        model: the model. Volumes are not rescaled.
        pairs: image and true labels of each volume, ``[D, H, W]``.
        prob_threshs: probability thresholds to try.
        nms_threshs: overlap thresholds to try.
        device: device of the prediction, as for :meth:`AnyStar.predict`.
    """
    middle = model.config.diameter_band[1]
    found: dict[tuple[float, float], list[Scores]] = {}
    for image, truth in pairs:
        candidates = model.candidates(
            image, diameter=middle, prob_thresh=min(prob_threshs), device=device, progress=False
        )
        for nms in nms_threshs:
            objects = find_instances(candidates, nms, shape_averaging=model.shape_averaging)
            for prob in prob_threshs:
                kept = int(np.count_nonzero(objects.scores > prob))
                prediction = np.where(objects.labels <= kept, objects.labels, 0)
                found.setdefault((prob, nms), []).append(scores_of(truth, prediction))
    return [Choice(prob, nms, mean_scores(volumes)) for (prob, nms), volumes in found.items()]


def mean_scores(volumes: Sequence[Scores]) -> Scores:
    """Mean scores over volumes at every IoU threshold.

    Args:
        volumes: scores of each volume, at least one.
    """
    return {t: combine([scores[t] for scores in volumes], by_image=True) for t in IOU_THRESHOLDS}


def best(choices: Sequence[Choice]) -> Choice:
    """The combination with the highest mean AP, the first of equal ones.

    Args:
        choices: the combinations, at least one.
    """
    return max(choices, key=lambda choice: choice.accuracy)
