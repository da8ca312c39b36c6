"""Instance matching: which predicted objects are which true ones, and how good the prediction is.

The definitions are StarDist's (``stardist.matching``): objects are matched one to one so that the number of
pairs at or above the threshold is largest and, among those, the summed score is; scores are float32. The
overlap table is kept sparse here, so that memory grows with the objects that touch and not with their
product.

The module is also the function: ``from anystar_torch import matching`` gives something to call,
``matching(truth, prediction)``, and to take names from, ``matching.matching_dataset``. The last lines of this
file give the module a class with ``__call__`` to that end.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anystar_torch.evaluation.label_pairs import count_pairs

CRITERIA = ("iou", "iot", "iop")


@dataclass(frozen=True)
class Matching:
    """Scores of one prediction, or of several together.

    Attributes:
        criterion: "iou" (intersection over union), "iot" (over the true volume) or "iop" (over the predicted
            one).
        thresh: score from which a pair counts as found.
        tp: true objects that were found; ``fp``: predicted objects that are none; ``fn``: true objects
            missed.
        n_true: true objects; ``n_pred``: predicted ones.
        precision: tp / n_pred; ``recall``: tp / n_true; ``f1``: their harmonic mean.
        accuracy: tp / (tp + fp + fn), which StarDist and others call average precision (AP).
        mean_matched_score: mean score of the pairs found; ``mean_true_score``: their sum over n_true.
        panoptic_quality: their sum over tp + fp / 2 + fn / 2.
        pairs: ``[tp, 2]`` labels (true, predicted) of the pairs found; empty for several predictions
            together.
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
    pairs: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """Every number by its name, for JSON; the pairs are left out."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "pairs"}


@dataclass(frozen=True)
class Overlap:
    """Voxels that each true and each predicted object share: made once, asked at many thresholds.

    Attributes:
        true_labels, pred_labels: the labels present, ascending, background left out.
        true_volumes, pred_volumes: their voxels.
        pairs: ``[M, 2]`` indices into the two, of the M pairs that share a voxel.
        shared: ``[M]`` voxels shared.
    """

    true_labels: NDArray[np.int64]
    pred_labels: NDArray[np.int64]
    true_volumes: NDArray[np.int64]
    pred_volumes: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shared: NDArray[np.int64]

    @classmethod
    def of(cls, truth: ArrayLike, prediction: ArrayLike) -> "Overlap":
        """Count the shared voxels of two label arrays of one shape.

        Raises:
            TypeError: a label array is not of an integer type.
            ValueError: the shapes differ, or a label is negative.
        """
        true_array, pred_array = _labels(truth, "truth"), _labels(prediction, "prediction")
        if true_array.shape != pred_array.shape:
            raise ValueError(
                f"truth and prediction must have one shape, got {true_array.shape} and {pred_array.shape}"
            )
        values, counts = count_pairs(true_array.reshape(-1), pred_array.reshape(-1))
        true_labels, true_index = np.unique(values[:, 0], return_inverse=True)
        pred_labels, pred_index = np.unique(values[:, 1], return_inverse=True)
        true_volumes = np.bincount(true_index, counts, true_labels.size).astype(np.int64)
        pred_volumes = np.bincount(pred_index, counts, pred_labels.size).astype(np.int64)
        both = (values > 0).all(axis=1)
        pairs = np.stack(
            [np.searchsorted(true_labels[true_labels > 0], values[both, 0]),
             np.searchsorted(pred_labels[pred_labels > 0], values[both, 1])], axis=1,
        )  # fmt: skip
        true_kept, pred_kept = true_labels > 0, pred_labels > 0
        return cls(
            true_labels[true_kept], pred_labels[pred_kept],
            true_volumes[true_kept], pred_volumes[pred_kept], pairs, counts[both],
        )  # fmt: skip

    def scores(self, criterion: str = "iou") -> NDArray[np.float32]:
        """The score of every pair that shares a voxel, ``[M]``; float32, as StarDist keeps it."""
        true_volume = self.true_volumes[self.pairs[:, 0]]
        pred_volume = self.pred_volumes[self.pairs[:, 1]]
        if criterion == "iou":
            whole = true_volume + pred_volume - self.shared
        elif criterion in CRITERIA:
            whole = true_volume if criterion == "iot" else pred_volume
        else:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
        scores: NDArray[np.float32] = (self.shared / np.maximum(whole, 1)).astype(np.float32)
        return scores

    def matching(self, thresh: float | int = 0.5, criterion: str = "iou") -> Matching:
        """Match one to one and score, with pairs from ``thresh`` (0 to 1) on counting as found."""
        if not 0 <= thresh <= 1:
            raise ValueError(f"the threshold must lie between 0 and 1, got {thresh}")
        scores = self.scores(criterion)
        found = self._assign(scores, thresh)
        found = found[scores[found] >= np.float32(thresh)]
        chosen = self.pairs[found]
        labels = np.stack([self.true_labels[chosen[:, 0]], self.pred_labels[chosen[:, 1]]], axis=1)
        n_true, n_pred, tp = self.true_labels.size, self.pred_labels.size, len(found)
        return _score(criterion, thresh, (tp, n_pred - tp, n_true - tp), scores[found].sum(), labels)

    def without_small(self, fraction: float) -> "Overlap":
        """The same without true objects below ``fraction`` of the median true volume.

        Annotated volumes often hold crumbs. A prediction on a crumb counts against precision, as on
        background.
        """
        if not self.true_labels.size or fraction <= 0:
            return self
        kept = self.true_volumes >= fraction * np.median(self.true_volumes)
        rows = kept[self.pairs[:, 0]]
        position = np.cumsum(kept) - 1
        pairs = np.stack([position[self.pairs[rows, 0]], self.pairs[rows, 1]], axis=1)
        return replace(
            self, true_labels=self.true_labels[kept], true_volumes=self.true_volumes[kept],
            pairs=pairs, shared=self.shared[rows],
        )  # fmt: skip

    def _assign(self, scores: NDArray[np.float32], thresh: float) -> NDArray[np.int64]:
        """The pairs of the best one-to-one assignment, as indices into ``pairs``, by true label.

        Every true object may also stay alone: it has a partner of its own at no gain, which makes a full
            matching
        exist. All costs are shifted by 2 because the sparse solver takes a stored zero for a missing edge.
        """
        if not len(self.pairs):
            return np.empty(0, np.int64)
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        n_true, n_pred = self.true_labels.size, self.pred_labels.size
        gain = (scores >= np.float32(thresh)) + scores.astype(np.float64) / (2 * min(n_true, n_pred))
        alone = np.arange(n_true)
        cost = coo_array(
            (
                np.concatenate([2 - gain, np.full(n_true, 2.0)]),
                (
                    np.concatenate([self.pairs[:, 0], alone]),
                    np.concatenate([self.pairs[:, 1], n_pred + alone]),
                ),
            ),
            shape=(n_true, n_pred + n_true),
        ).tocsr()
        rows, columns = min_weight_full_bipartite_matching(cost)
        partner = np.full(n_true, -1)
        partner[rows] = columns
        taken = np.flatnonzero(partner[self.pairs[:, 0]] == self.pairs[:, 1])
        return taken[np.argsort(self.pairs[taken, 0], kind="stable")]


def matching(
    truth: ArrayLike, prediction: ArrayLike, iou_thresh: float | int = 0.5, criterion: str = "iou"
) -> Matching:
    """Score a prediction against the truth.

    Args:
        truth: integer labels of any shape, 0 = background.
        prediction: integer labels of the same shape.
        iou_thresh: score from which a pair counts as found, 0 to 1.
        criterion: "iou", "iot" or "iop".

    Returns:
        The :class:`Matching`; every ratio is 0 where nothing was found.

    Example:
        >>> import numpy as np
        >>> matching(np.array([0, 1, 1, 2]), np.array([0, 5, 5, 0])).recall
        0.5
    """
    return Overlap.of(truth, prediction).matching(iou_thresh, criterion)


def matching_dataset(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    iou_thresh: float | int = 0.5,
    criterion: str = "iou",
    by_image: bool = False,
) -> Matching:
    """Score several (truth, prediction) pairs together; see :func:`combine`."""
    return combine([matching(t, p, iou_thresh, criterion) for t, p in pairs], by_image=by_image)


def combine(scores: Sequence[Matching], by_image: bool = False) -> Matching:
    """One score for several volumes.

    Args:
        scores: one per volume, at one threshold and criterion.
        by_image: False pools the objects of all volumes; True averages the ratios, so that every volume
            counts alike.
    """
    if not scores:
        raise ValueError("no scores to combine: give at least one volume")
    if len({(score.criterion, score.thresh) for score in scores}) > 1:
        raise ValueError("scores to combine must share one criterion and one threshold")
    tp, fp, fn = (sum(getattr(score, name) for score in scores) for name in ("tp", "fp", "fn"))
    total = np.sum([np.float32(score.mean_true_score) * np.float32(score.n_true) for score in scores])
    nothing = np.empty((0, 2), np.int64)
    pooled = _score(scores[0].criterion, scores[0].thresh, (tp, fp, fn), total, nothing)
    if not by_image:
        return pooled
    ratios = ("precision", "recall", "accuracy", "f1", "mean_matched_score", "panoptic_quality")
    means: dict[str, Any] = {
        name: float(np.mean([getattr(score, name) for score in scores])) for name in ratios
    }
    mean_true = np.sum([np.float32(score.mean_true_score) for score in scores]) / np.float32(len(scores))
    return replace(pooled, mean_true_score=float(mean_true), **means)


def _score(
    criterion: str, thresh: float, counts: tuple[int, int, int], summed: np.float32, pairs: NDArray[np.int64]
) -> Matching:
    tp, fp, fn = counts
    some, total = tp > 0, float(summed)
    return Matching(
        criterion=criterion, thresh=thresh, tp=tp, fp=fp, fn=fn, n_true=tp + fn, n_pred=tp + fp,
        precision=tp / (tp + fp) if some else 0.0,
        recall=tp / (tp + fn) if some else 0.0,
        accuracy=tp / (tp + fp + fn) if some else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if some else 0.0,
        # StarDist divides this one, and no other, in single precision; its results are met to 1e-9 only so.
        mean_true_score=float(summed / np.float32(tp + fn)) if some else 0.0,
        mean_matched_score=total / tp if some else 0.0,
        panoptic_quality=total / (tp + fp / 2 + fn / 2) if some else 0.0,
        pairs=pairs,
    )  # fmt: skip


def _labels(array: ArrayLike, name: str) -> NDArray[Any]:
    labels = np.asarray(array)
    if labels.dtype.kind not in "uib":
        raise TypeError(
            f"{name} must hold integer labels, got {labels.dtype}; convert it, or give the label file"
        )
    if labels.size and labels.min() < 0:
        raise ValueError(f"{name} must hold labels from 0 on, got {labels.min()}")
    return labels


class CallableModule(ModuleType):
    """This module's class: called, it is :func:`matching`."""

    def __call__(
        self, truth: ArrayLike, prediction: ArrayLike, iou_thresh: float | int = 0.5, criterion: str = "iou"
    ) -> Matching:
        """See :func:`matching`."""
        return matching(truth, prediction, iou_thresh, criterion)


sys.modules[__name__].__class__ = CallableModule
