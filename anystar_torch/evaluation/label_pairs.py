"""Count how many voxels each pair of a true and a predicted label shares."""

from typing import Any

import numpy as np
from jaxtyping import Int64, Integer, UInt64
from numpy.typing import NDArray

_CHUNK = 1 << 23  # voxels whose pairs are sorted at a time: 64 MB of keys

Pairs = Int64[np.ndarray, "m 2"] | UInt64[np.ndarray, "m 2"]
Counts = Int64[np.ndarray, " m"]


def count_pairs(
    truth: Integer[np.ndarray, " voxels"], prediction: Integer[np.ndarray, " voxels"]
) -> tuple[Pairs, Counts]:
    """Every (true, predicted) pair of labels that occurs, and the number of voxels that have it.

    Args:
        truth: true labels, ``[voxels]``.
        prediction: predicted labels of the same voxels.

    Returns:
        The pairs ``[M, 2]`` in ascending order, and their voxel counts ``[M]``. The background, 0, is a label here.
        Pairs are int64, or uint64 where a label is above 2^63 - 1. NumPy's common type of both would be float64,
        which holds no label above 2^53 exactly.
    """
    kind = np.uint64 if any(_beyond_int64(labels) for labels in (truth, prediction)) else np.int64
    pairs: NDArray[Any] = np.empty((0, 2), kind)
    counts = np.empty(0, np.int64)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        pairs_part, counts_part = _count(truth[part], prediction[part], kind)
        pairs, counts = _merge(np.concatenate([pairs, pairs_part]), np.concatenate([counts, counts_part]))
    return pairs, counts


def _beyond_int64(labels: NDArray[Any]) -> bool:
    """Whether a label does not fit into int64."""
    return labels.dtype == np.uint64 and bool(labels.max(initial=0) > np.iinfo(np.int64).max)


def _count(truth: NDArray[Any], prediction: NDArray[Any], kind: type[Any]) -> tuple[Pairs, Counts]:
    true_values, true_index = np.unique(truth, return_inverse=True)
    pred_values, pred_index = np.unique(prediction, return_inverse=True)
    # Dense indices first: labels may be any 64-bit numbers, and a key made of two of them would overflow.
    key, counts = np.unique(true_index.astype(np.int64) * pred_values.size + pred_index, return_counts=True)
    true_labels, pred_labels = true_values.astype(kind), pred_values.astype(kind)
    found = np.stack([true_labels[key // pred_values.size], pred_labels[key % pred_values.size]], axis=1)
    return found, counts


def _merge(pairs: Pairs, counts: Counts) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Equal pairs as one, with the sum of their counts."""
    merged, index = np.unique(pairs, axis=0, return_inverse=True)
    total = np.zeros(len(merged), np.int64)
    np.add.at(total, index.reshape(-1), counts)
    return merged, total
