"""Instance matching: one-to-one assignment of predicted to true objects, and the scores that follow from it.

The definitions are those of ``stardist.matching``: the assignment maximises the number of pairs at or above the
threshold and, among such assignments, the sum of their scores. Scores are float32. The contingency table is sparse, so
memory grows with the number of pairs of objects that share voxels.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, Integer
from numpy.typing import ArrayLike, NDArray

from anystar_torch.evaluation.label_pairs import count_pairs
from anystar_torch.evaluation.scores import Matching, score_of

CRITERIA = ("iou", "iot", "iop")

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""IoU thresholds of every score that is reported without a choice of the user."""

SMALLEST_TRUTH = 0.1
"""True objects below this fraction of the median true volume are left out of scores during development."""


@dataclass(frozen=True)
class ContingencyTable:
    """Number of voxels that each true object shares with each predicted object.

    It is counted once and can be matched at many thresholds.

    Attributes:
        true_labels: ``[T]`` labels of the true objects, ascending, without the background.
        pred_labels: ``[P]`` labels of the predicted objects, likewise.
        true_volumes: ``[T]`` number of voxels of each true object.
        pred_volumes: ``[P]`` number of voxels of each predicted object.
        pairs: ``[M, 2]`` indices into the true and the predicted objects, for the M pairs that share a voxel.
        shared: ``[M]`` number of voxels that each pair shares.
    """

    true_labels: Integer[np.ndarray, " t"]
    pred_labels: Integer[np.ndarray, " p"]
    true_volumes: Int64[np.ndarray, " t"]
    pred_volumes: Int64[np.ndarray, " p"]
    pairs: Int64[np.ndarray, "m 2"]
    shared: Int64[np.ndarray, " m"]

    @classmethod
    def of(cls, truth: ArrayLike, prediction: ArrayLike) -> "ContingencyTable":
        """Count the table of two label arrays.

        Args:
            truth: integer labels of any shape, 0 = background.
            prediction: integer labels of the same shape.

        Raises:
            TypeError: a label array does not have an integer type.
            ValueError: the shapes differ, or a label is negative.
        """
        true_array, pred_array = _labels(truth, "truth"), _labels(prediction, "prediction")
        if true_array.shape != pred_array.shape:
            raise ValueError(
                f"truth and prediction must have one shape, got {true_array.shape} and {pred_array.shape}"
            )
        values, counts = count_pairs(true_array.reshape(-1), pred_array.reshape(-1))
        true_labels, true_volumes = _volumes(values[:, 0], counts)
        pred_labels, pred_volumes = _volumes(values[:, 1], counts)
        both = (values > 0).all(axis=1)
        true_index = np.searchsorted(true_labels, values[both, 0])
        pred_index = np.searchsorted(pred_labels, values[both, 1])
        pairs = np.stack([true_index, pred_index], axis=1)
        return cls(true_labels, pred_labels, true_volumes, pred_volumes, pairs, counts[both])

    def scores(self, criterion: str = "iou") -> Float32[np.ndarray, " m"]:
        """Score of every pair that shares a voxel, ``[M]``.

        Args:
            criterion: "iou", "iot" or "iop"; see :class:`Matching`.

        Raises:
            ValueError: another criterion.
        """
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
        """Match the objects one to one, and score the result.

        Args:
            thresh: smallest score of a matched pair, 0 to 1.
            criterion: "iou", "iot" or "iop"; see :class:`Matching`.

        Raises:
            ValueError: a threshold outside 0 to 1, or another criterion.
        """
        if not 0 <= thresh <= 1:
            raise ValueError(f"the threshold must lie between 0 and 1, got {thresh}")
        scores = self.scores(criterion)
        found = self._assign(scores, thresh)
        found = found[scores[found] >= np.float32(thresh)]
        chosen = self.pairs[found]
        labels = np.stack([self.true_labels[chosen[:, 0]], self.pred_labels[chosen[:, 1]]], axis=1)
        n_true, n_pred, tp = self.true_labels.size, self.pred_labels.size, len(found)
        return score_of(criterion, thresh, (tp, n_pred - tp, n_true - tp), scores[found].sum(), labels)

    def without_small(self, fraction: float) -> "ContingencyTable":
        """The table without true objects that are smaller than ``fraction`` of the median true volume.

        Annotated volumes often contain fragments of a few voxels. A prediction on a removed object is a false positive.

        Args:
            fraction: of the median true volume; 0 removes nothing.
        """
        if not self.true_labels.size or fraction <= 0:
            return self
        kept = self.true_volumes >= fraction * np.median(self.true_volumes)
        rows = kept[self.pairs[:, 0]]
        position = np.cumsum(kept) - 1
        return replace(
            self,
            true_labels=self.true_labels[kept],
            true_volumes=self.true_volumes[kept],
            pairs=np.stack([position[self.pairs[rows, 0]], self.pairs[rows, 1]], axis=1),
            shared=self.shared[rows],
        )

    def _assign(self, scores: Float32[np.ndarray, " m"], thresh: float) -> Int64[np.ndarray, " n"]:
        """Indices into ``pairs`` of the best one-to-one assignment, ordered by true object.

        The solver needs a matching of all true objects. Therefore each true object also has a partner of its own
        without gain. All costs are shifted by 2, because the sparse solver reads a stored zero as a missing edge.
        """
        if not len(self.pairs):
            return np.empty(0, np.int64)
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        n_true, n_pred = self.true_labels.size, self.pred_labels.size
        gain = (scores >= np.float32(thresh)) + scores.astype(np.float64) / (2 * min(n_true, n_pred))
        alone = np.arange(n_true)
        costs = np.concatenate([2 - gain, np.full(n_true, 2.0)])
        rows = np.concatenate([self.pairs[:, 0], alone])
        columns = np.concatenate([self.pairs[:, 1], n_pred + alone])
        graph = coo_array((costs, (rows, columns)), shape=(n_true, n_pred + n_true)).tocsr()
        matched_rows, matched_columns = min_weight_full_bipartite_matching(graph)
        partner = np.full(n_true, -1)
        partner[matched_rows] = matched_columns
        taken = np.flatnonzero(partner[self.pairs[:, 0]] == self.pairs[:, 1])
        return taken[np.argsort(self.pairs[taken, 0], kind="stable")]


def matching(
    truth: ArrayLike, prediction: ArrayLike, iou_thresh: float | int = 0.5, criterion: str = "iou"
) -> Matching:
    """Match predicted to true objects and score the prediction.

    Args:
        truth: integer labels of any shape, 0 = background.
        prediction: integer labels of the same shape.
        iou_thresh: smallest score of a matched pair, 0 to 1.
        criterion: "iou", "iot" or "iop"; see :class:`Matching`.

    Returns:
        The scores and the matched pairs.

    Raises:
        TypeError: a label array does not have an integer type.
        ValueError: the shapes differ, a label is negative, or the threshold or the criterion is not valid.

    Examples:
        One of two objects is found. Labels need not have the same numbers:

        >>> import numpy as np
        >>> from anystar_torch import matching
        >>> score = matching(truth=np.array([0, 1, 1, 2]), prediction=np.array([0, 5, 5, 0]))
        >>> score.tp, score.fp, score.fn
        (1, 0, 1)
        >>> score.recall
        0.5
    """
    return ContingencyTable.of(truth, prediction).matching(iou_thresh, criterion)


def _volumes(
    labels: Integer[np.ndarray, " m"], counts: Int64[np.ndarray, " m"]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels of the objects that occur, ascending, and their numbers of voxels."""
    values, index = np.unique(labels, return_inverse=True)
    volumes = np.bincount(index, counts, values.size).astype(np.int64)
    return values[values > 0], volumes[values > 0]


def _labels(array: ArrayLike, name: str) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill it first, for example with 0, the background")
    labels = np.asarray(array)
    if labels.dtype.kind not in "uib":
        raise TypeError(
            f"{name} must have integer labels, got {labels.dtype}; convert the array to an integer type"
        )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.size and labels.min() < 0:
        raise ValueError(f"{name} must have labels from 0 on, got {labels.min()}")
    return labels
