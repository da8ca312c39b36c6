"""Which labels of two label arrays meet, and in how many voxels: a table as long as there are pairs that do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 23  # voxels whose pairs are sorted at a time: 64 MB of keys


def count_pairs(truth: NDArray[Any], prediction: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every (true, predicted) pair of labels that occurs, ``[M, 2]``, and its voxels, ``[M]``."""
    keys, counts = np.empty((0, 2), np.int64), np.empty(0, np.int64)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        keys_part, counts_part = _count(truth[part], prediction[part])
        keys, counts = _merge(np.concatenate([keys, keys_part]), np.concatenate([counts, counts_part]))
    return keys, counts


def _count(truth: NDArray[Any], prediction: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    true_values, true_index = np.unique(truth, return_inverse=True)
    pred_values, pred_index = np.unique(prediction, return_inverse=True)
    # Dense indices first: labels may be any 64-bit numbers, and a key of two of them would not fit.
    key, counts = np.unique(true_index.astype(np.int64) * pred_values.size + pred_index, return_counts=True)
    found = np.stack([true_values[key // pred_values.size], pred_values[key % pred_values.size]], axis=1)
    return found.astype(np.int64), counts


def _merge(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    merged, index = np.unique(keys, axis=0, return_inverse=True)
    total = np.zeros(len(merged), np.int64)
    np.add.at(total, index.reshape(-1), counts)
    return merged, total
