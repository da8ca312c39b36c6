"""Count how many voxels each pair of a true and a predicted label shares."""

from typing import Any

import numpy as np
from jaxtyping import Int64, Integer
from numpy.typing import NDArray

_CHUNK = 1 << 23  # voxels whose pairs are sorted at a time: 64 MB of keys

Pairs = Int64[np.ndarray, "m 2"]
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
    """
    pairs, counts = np.empty((0, 2), np.int64), np.empty(0, np.int64)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        pairs_part, counts_part = _count(truth[part], prediction[part])
        pairs, counts = _merge(np.concatenate([pairs, pairs_part]), np.concatenate([counts, counts_part]))
    return pairs, counts


def _count(truth: NDArray[Any], prediction: NDArray[Any]) -> tuple[Pairs, Counts]:
    true_values, true_index = np.unique(truth, return_inverse=True)
    pred_values, pred_index = np.unique(prediction, return_inverse=True)
    # Dense indices first: labels may be any 64-bit numbers, and a key made of two of them would overflow.
    key, counts = np.unique(true_index.astype(np.int64) * pred_values.size + pred_index, return_counts=True)
    found = np.stack([true_values[key // pred_values.size], pred_values[key % pred_values.size]], axis=1)
    return found.astype(np.int64), counts


def _merge(pairs: Pairs, counts: Counts) -> tuple[Pairs, Counts]:
    merged, index = np.unique(pairs, axis=0, return_inverse=True)
    total = np.zeros(len(merged), np.int64)
    np.add.at(total, index.reshape(-1), counts)
    return merged, total
