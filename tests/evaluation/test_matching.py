"""Matching against StarDist's stored results, StarDist itself, and cases counted by hand."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import anystar_torch
from anystar_torch.evaluation.matching import ContingencyTable, matching
from anystar_torch.evaluation.scores import combine

SCORES = ["tp", "fp", "fn", "n_true", "n_pred", "precision", "recall", "accuracy", "f1"]
SCORES += ["mean_true_score", "mean_matched_score", "panoptic_quality"]


@pytest.fixture(scope="module")
def parity(shared_data):
    labels = np.load(shared_data / "parity" / "matching_labels.npz")
    return labels, json.loads((shared_data / "parity" / "matching.json").read_text())


def _assert_equal(ours, theirs):
    for name in SCORES:
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-9), name


@pytest.mark.long
def test_equals_the_stored_results_of_stardist(parity):
    labels, stored = parity
    compared = 0
    for name, cases in stored.items():
        if name.startswith("dataset"):
            continue
        table = ContingencyTable.of(labels[f"{name}__true"], labels[f"{name}__pred"])
        for case, theirs in cases.items():
            criterion, thresh = case.split("_")
            if isinstance(theirs, str):  # StarDist raises where both are empty
                continue
            ours = table.matching(float(thresh), criterion)
            _assert_equal(ours, theirs)
            assert set(map(tuple, ours.pairs)) <= {tuple(map(int, pair)) for pair in theirs["matched_pairs"]}
            compared += 1
    assert compared >= 100


@pytest.mark.parametrize("by_image", [False, True])
def test_several_volumes_equal_the_stored_results(parity, by_image):
    labels, stored = parity
    assert len(stored[f"dataset_by_image_{by_image}"]) == 3
    for theirs in stored[f"dataset_by_image_{by_image}"]:
        pairs = [(labels[f"{n}__true"], labels[f"{n}__pred"]) for n in ("nuc_full", "nuc_bbox", "nuc_roll")]
        _assert_equal(
            combine([matching(*pair, theirs["thresh"]) for pair in pairs], by_image=by_image), theirs
        )


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    truth=arrays(np.int32, (6, 7), elements=st.integers(0, 5)),
    prediction=arrays(np.uint8, (6, 7), elements=st.integers(0, 6)),
    thresh=st.sampled_from([0.05, 0.2, 0.35, 0.5, 0.7]),
)
def test_equals_stardist_on_crowded_random_labels(truth, prediction, thresh):
    oracle = pytest.importorskip("stardist.matching").matching
    if not truth.any() or not prediction.any():
        return
    theirs = oracle(truth, prediction.astype(np.int32), thresh=thresh)
    ours = matching(truth, prediction, thresh)
    assert (ours.tp, ours.fp, ours.fn) == (theirs.tp, theirs.fp, theirs.fn)
    assert ours.panoptic_quality == pytest.approx(theirs.panoptic_quality, abs=1e-6)


def test_a_case_counted_by_hand():
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 7]])
    prediction = np.array([[4, 4, 4, 0, 0, 9, 9, 9, 0]])
    score = matching(truth, prediction, 0.7)
    assert (score.tp, score.fp, score.fn) == (1, 1, 2)
    assert score.pairs.tolist() == [[1, 4]]
    assert score.mean_matched_score == pytest.approx(0.75)
    assert matching(truth, prediction, 0.6).f1 == pytest.approx(0.8)


def test_the_public_name_is_the_function():
    assert anystar_torch.matching is matching


def test_small_true_objects_can_be_left_out():
    truth = np.repeat([1, 2, 3, 0], [100, 120, 3, 20])
    table = ContingencyTable.of(truth, np.where(truth == 3, 0, truth))
    assert table.matching().fn == 1
    assert table.without_small(0.1).matching().fn == 0


def test_the_order_of_memory_and_the_type_do_not_matter():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 9, (2, 12, 13, 14))
    base = matching(truth, prediction, 0.05)
    big = truth.astype(">u8") * 10**12
    assert matching(big, np.asfortranarray(prediction.astype(np.int16)), 0.05).as_dict() == base.as_dict()


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "words"),
    [
        (np.zeros(3), np.zeros(3, int), TypeError, "integer labels"),
        (np.zeros(3, int), np.zeros(4, int), ValueError, "one shape"),
        (np.array([-1]), np.array([1]), ValueError, "from 0 on"),
    ],
)
def test_what_is_not_two_label_arrays_is_refused(truth, prediction, error, words):
    with pytest.raises(error, match=words):
        matching(truth, prediction)
    with pytest.raises(ValueError, match="between 0 and 1"):
        matching(np.array([1]), np.array([1]), 1.5)
    with pytest.raises(ValueError, match="at least one"):
        combine([])


@pytest.mark.long
def test_memory_is_linear_in_20000_objects():
    side = 28  # 28^3 = 21,952 objects of 3^3 voxels, predicted one voxel off
    ids = np.arange(1, side**3 + 1, dtype=np.int32).reshape(side, side, side)
    truth = ids.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    prediction = np.roll(truth, 1, axis=2)
    tracemalloc.start()
    score = matching(truth, prediction, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert score.n_true == side**3
    assert score.tp == side**3  # 18 of 36 voxels each
    assert peak < 120e6  # a dense float64 table alone is 3.9 GB
