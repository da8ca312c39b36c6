"""Scores of a prediction, and one score for several volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Integer


@dataclass(frozen=True)
class Matching:
    """Scores of one prediction, or of several predictions together.

    Every ratio is 0 where its denominator is 0.

    Attributes:
        criterion: "iou" (intersection over union), "iot" (intersection over the true volume) or "iop" (intersection
            over the predicted volume).
        thresh: smallest score of a matched pair, 0 to 1.
        tp: number of matched true objects.
        fp: number of predicted objects without a match.
        fn: number of true objects without a match.
        n_true: number of true objects.
        n_pred: number of predicted objects.
        precision: tp / n_pred.
        recall: tp / n_true.
        accuracy: tp / (tp + fp + fn). StarDist and others call it average precision (AP).
        f1: harmonic mean of precision and recall.
        mean_true_score: sum of the scores of the matched pairs, divided by n_true.
        mean_matched_score: mean score of the matched pairs.
        panoptic_quality: sum of the scores of the matched pairs, divided by tp + fp / 2 + fn / 2.
        pairs: ``[tp, 2]`` labels (true, predicted) of the matched pairs; empty for several predictions together.
    """

    criterion: str
    thresh: float
    tp: int
    fp: int
    fn: int
    n_true: int
    n_pred: int
    precision: float
    recall: float
    accuracy: float
    f1: float
    mean_true_score: float
    mean_matched_score: float
    panoptic_quality: float
    pairs: Integer[np.ndarray, "tp 2"]

    def as_dict(self) -> dict[str, Any]:
        """Every attribute but ``pairs`` by its name, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "pairs"}


def score_of(
    criterion: str,
    thresh: float,
    counts: tuple[int, int, int],
    summed: np.float32,
    pairs: Integer[np.ndarray, "tp 2"],
) -> Matching:
    """The scores that follow from the matched pairs.

    Args:
        criterion: "iou", "iot" or "iop"; see :class:`Matching`.
        thresh: smallest score of a matched pair, 0 to 1.
        counts: numbers of matched objects, and of predicted and of true objects without a match (tp, fp, fn).
        summed: sum of the scores of the matched pairs.
        pairs: labels (true, predicted) of the matched pairs.
    """
    tp, fp, fn = counts
    some, total = tp > 0, float(summed)
    return Matching(
        criterion=criterion,
        thresh=thresh,
        tp=tp,
        fp=fp,
        fn=fn,
        n_true=tp + fn,
        n_pred=tp + fp,
        precision=tp / (tp + fp) if some else 0.0,
        recall=tp / (tp + fn) if some else 0.0,
        accuracy=tp / (tp + fp + fn) if some else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if some else 0.0,
        # StarDist divides this one in single precision. Results agree to 1e-9 only if this code does so too.
        mean_true_score=float(summed / np.float32(tp + fn)) if some else 0.0,
        mean_matched_score=total / tp if some else 0.0,
        panoptic_quality=total / (tp + fp / 2 + fn / 2) if some else 0.0,
        pairs=pairs,
    )


def combine(scores: Sequence[Matching], by_image: bool = False) -> Matching:
    """One score for several volumes.

    Args:
        scores: one per volume, of one threshold and one criterion.
        by_image: False pools the objects of all volumes. True averages the ratios over the volumes, so that every
            volume has the same weight.

    Raises:
        ValueError: no scores, or scores of several thresholds or criteria.
    """
    if not scores:
        raise ValueError("no scores to combine: give at least one volume")
    if len({(score.criterion, score.thresh) for score in scores}) > 1:
        raise ValueError("scores to combine must share one criterion and one threshold")
    tp, fp, fn = (sum(getattr(score, name) for score in scores) for name in ("tp", "fp", "fn"))
    total = np.sum([np.float32(score.mean_true_score) * np.float32(score.n_true) for score in scores])
    nothing = np.empty((0, 2), np.int64)
    pooled = score_of(scores[0].criterion, scores[0].thresh, (tp, fp, fn), total, nothing)
    if not by_image:
        return pooled
    ratios = ("precision", "recall", "accuracy", "f1", "mean_matched_score", "panoptic_quality")
    means: dict[str, Any] = {
        name: float(np.mean([getattr(score, name) for score in scores])) for name in ratios
    }
    mean_true = np.sum([np.float32(score.mean_true_score) for score in scores]) / np.float32(len(scores))
    return replace(pooled, mean_true_score=float(mean_true), **means)
