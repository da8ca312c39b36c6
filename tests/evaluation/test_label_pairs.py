"""Voxels that pairs of labels share, against a count in Python: in several chunks, and for labels of 64 bits."""

from collections import Counter

import numpy as np
import pytest

from anystar_torch.evaluation import label_pairs
from anystar_torch.evaluation.matching import matching


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_pairs_of_several_chunks_are_counted_together(monkeypatch, chunk):
    monkeypatch.setattr(label_pairs, "_CHUNK", chunk)
    random = np.random.default_rng(0)
    truth, prediction = random.integers(0, 3, 300), random.integers(0, 8, 300)
    pairs, counts = label_pairs.count_pairs(truth, prediction)
    expected = Counter(zip(truth.tolist(), prediction.tolist(), strict=True))
    assert list(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True)) == sorted(expected.items())


@pytest.mark.parametrize("swapped", [False, True])
def test_labels_beyond_int64_stay_apart(swapped):
    """As float64 both labels would be 2^63; as int64 they would be negative."""
    huge = np.array([0, 2**63 + 1, 2**63 + 1, 2**63 + 2], np.uint64)
    small = np.array([0, 1, 1, 2], np.int64)
    truth, prediction = (small, huge) if swapped else (huge, small)
    score = matching(truth, prediction, 1.0)
    assert (score.tp, score.fp, score.fn) == (2, 0, 0)
    rows = [[2**63 + 1, 1], [2**63 + 2, 2]]
    assert score.pairs.tolist() == [row[::-1] if swapped else row for row in rows]


def test_the_largest_label_of_int64_is_one():
    largest = np.array([0, 2**63 - 1], np.uint64)
    pairs, counts = label_pairs.count_pairs(largest, largest.astype(np.int64))
    assert pairs.tolist() == [[0, 0], [2**63 - 1, 2**63 - 1]]
    assert counts.tolist() == [1, 1]
