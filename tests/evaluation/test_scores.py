"""Scores at the limits of their thresholds, of parts of the objects, and of several volumes."""

import numpy as np
import pytest

from anystar_torch.evaluation.matching import ContingencyTable, matching
from anystar_torch.evaluation.scores import combine

TRUTH = np.array([1, 1, 1, 1, 0, 0, 2, 2, 2, 2])
HALF = np.array([3, 3, 0, 0, 0, 0, 4, 4, 4, 4])  # half of the first object, all of the second one


def test_a_pair_at_the_threshold_is_matched():
    assert matching(TRUTH, HALF, 0.5).tp == 2
    assert matching(TRUTH, HALF, np.nextafter(np.float32(0.5), np.float32(1)).item()).tp == 1


def test_a_threshold_is_rounded_to_float32_as_the_scores_are():
    """0.7 is larger in float64 than in float32."""
    seven = np.repeat([1, 0], [7, 3])
    assert matching(np.ones(10, int), seven, 0.7).tp == 1


def test_thresholds_0_and_1_are_valid():
    assert matching(TRUTH, HALF, 1.0).tp == 1
    assert matching(TRUTH, HALF, 0.0).tp == 2
    for thresh in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            matching(TRUTH, HALF, thresh)


def test_arrays_of_as_many_voxels_must_have_one_shape():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        matching(np.ones((2, 3), int), np.ones((3, 2), int))


@pytest.mark.parametrize(("criterion", "expected"), [("iou", 2 / 6), ("iot", 2 / 4), ("iop", 2 / 4)])
def test_one_pair_by_each_criterion(criterion, expected):
    truth, prediction = np.array([1, 1, 1, 1, 0, 0]), np.array([0, 0, 5, 5, 5, 5])
    assert matching(truth, prediction, 0.1, criterion).mean_matched_score == pytest.approx(expected)


def test_the_volume_of_iot_is_the_true_one():
    truth, prediction = np.array([1, 1, 0, 0]), np.array([5, 5, 5, 5])
    assert matching(truth, prediction, 0.1, "iot").mean_matched_score == 1
    assert matching(truth, prediction, 0.1, "iop").mean_matched_score == 0.5
    with pytest.raises(ValueError, match="criterion must be one of iou, iot, iop, got 'dice'"):
        matching(truth, prediction, 0.1, "dice")


@pytest.mark.parametrize("partners", [(1, 2), (2, 1)])
def test_among_assignments_of_as_many_pairs_the_sum_of_the_scores_is_largest(partners):
    """Both predictions overlap both objects; the other assignment has the same number of pairs."""
    first, second = partners
    truth = np.repeat([1, 1, 2, 2], [60, 40, 40, 60])
    prediction = np.repeat([first, second, first, second], [60, 40, 40, 60])
    score = matching(truth, prediction, 0.2)
    assert score.pairs.tolist() == [[1, first], [2, second]]
    assert score.mean_matched_score == pytest.approx(60 / 140)


def test_a_pair_at_the_threshold_counts_in_the_assignment():
    """IoU of 1/4 and 1/3, or of 2/5 and 1/5: the second pair has the larger sum and one match."""
    truth, prediction = np.array([1, 1, 1, 2, 2, 2, 2]), np.array([1, 2, 2, 1, 2, 2, 0])
    score = matching(truth, prediction, 0.25)
    assert score.pairs.tolist() == [[1, 1], [2, 2]]
    assert score.mean_matched_score == pytest.approx((1 / 4 + 1 / 3) / 2)


def test_more_pairs_count_more_than_better_ones():
    """The best pair has an IoU of 0.6. Without it there are two pairs above the threshold."""
    truth = np.repeat([1, 1, 2, 0], [80, 20, 30, 10])
    prediction = np.repeat([1, 2, 1, 2], [80, 20, 30, 10])
    table = ContingencyTable.of(truth, prediction)
    assert table.scores().max() > 0.5
    assert table.matching(0.15).tp == 2
    assert table.matching(0.15).pairs.tolist() == [[1, 2], [2, 1]]


def test_objects_at_the_least_volume_are_kept():
    """The median volume is 30 voxels, so that objects of at least 15 voxels are kept."""
    truth = np.repeat([1, 2, 3, 4, 5], [10, 15, 30, 100, 100])
    kept = ContingencyTable.of(truth, truth).without_small(0.5)
    assert kept.true_labels.tolist() == [2, 3, 4, 5]
    score = kept.matching(1.0)
    assert (score.tp, score.fp, score.fn) == (4, 1, 0)
    assert score.pairs.tolist() == [[2, 2], [3, 3], [4, 4], [5, 5]]


def test_nothing_is_left_out_of_nothing_or_at_fraction_0():
    empty = ContingencyTable.of(np.zeros(4, int), HALF[:4])
    assert empty.without_small(0.5).matching().fp == 1
    table = ContingencyTable.of(TRUTH, HALF)
    assert table.without_small(0.0) is table


def test_a_volume_of_bools_is_one_object():
    score = matching(TRUTH > 0, HALF > 0, 0.7)
    assert (score.n_true, score.n_pred, score.tp) == (1, 1, 1)
    assert score.mean_matched_score == pytest.approx(6 / 8)


def test_scores_of_several_volumes_pool_their_objects_unless_volumes_weigh_the_same():
    """Five objects in one volume, with a false one, and a missed one in the other."""
    many, found, one = np.array([1, 2, 3, 4, 5, 0]), np.arange(1, 7), np.array([1, 0, 0, 0, 0])
    scores = [matching(many, found, 0.5), matching(one, np.zeros(5, int), 0.5)]
    assert combine(scores).recall == pytest.approx(5 / 6)
    assert combine(scores, by_image=True).recall == pytest.approx(0.5)
    assert combine(scores, by_image=True).mean_true_score == pytest.approx(0.5)
    assert combine(scores).mean_true_score == pytest.approx(5 / 6)


@pytest.mark.parametrize("other", [{"iou_thresh": 0.6}, {"criterion": "iop"}])
def test_scores_of_different_thresholds_or_criteria_are_not_combined(other):
    with pytest.raises(ValueError, match="share one criterion and one threshold"):
        combine([matching(TRUTH, HALF), matching(TRUTH, HALF, **other)])
