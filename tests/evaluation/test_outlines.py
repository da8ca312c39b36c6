"""Grey values that are shown, and planes without objects or with large labels."""

import numpy as np
import pytest

from anystar_torch.evaluation.outlines import best_planes, contours, display_range


def test_the_range_of_a_picture_is_that_of_numpys_percentiles():
    volume = np.random.default_rng(0).normal(100, 20, (12, 20, 30)).astype(np.float32)
    expected = np.percentile(volume, [0.5, 99.8])
    volume[3, 4, 5:8] = np.nan, np.inf, -np.inf
    assert display_range(volume) == pytest.approx(tuple(expected), rel=1e-2)
    whole = np.arange(1000, dtype=np.uint16).reshape(10, 10, 10)
    assert display_range(whole) == pytest.approx(tuple(np.percentile(whole, [0.5, 99.8])))


@pytest.mark.parametrize("value", [0.0, 7.0, -3e5])
def test_the_range_of_a_constant_volume_is_not_empty(value):
    low, high = display_range(np.full((3, 4, 5), value))
    assert low == value < high
    assert high - low < 1e-5 * max(1, abs(value))


def test_the_range_without_a_finite_value_is_from_0_to_1():
    assert display_range(np.full((2, 2, 2), np.nan, np.float32)) == (0.0, 1.0)


@pytest.mark.parametrize("labels", [None, np.zeros((300, 8, 6), np.int32)])
def test_without_objects_planes_have_most_contrast(labels):
    """Every second voxel along z is looked at."""
    image = np.zeros((300, 8, 6), np.float32)
    image[200, 2:5, 1:4] = np.random.default_rng(0).random((3, 3)) + 1
    z, y, x = best_planes(labels, image)
    assert z == 200
    assert y in range(2, 5)
    assert x in range(1, 4)


def test_of_equal_planes_the_middle_one_is_taken():
    labels = np.zeros((9, 9, 11), np.int32)
    labels[:, 2:6, 3:4] = 1
    z, y, x = best_planes(labels, labels)
    assert (z, y, x) == (4, 4, 3)


def test_outlines_of_a_label_beside_the_border_pass_half_way():
    plane = np.zeros((5, 7), np.uint64)
    plane[1, 2:5] = 2**63 + 5
    ((label, (line,)),) = contours(plane)
    assert label == 2**63 + 5
    assert line.min(axis=0) == pytest.approx([1.5, 0.5])
    assert line.max(axis=0) == pytest.approx([4.5, 1.5])


def test_labels_without_background_are_outlined():
    plane = np.array([[5, 5, 9], [5, 5, 9]], np.uint32)
    found = contours(plane)
    assert [label for label, _ in found] == [5, 9]
    assert found[1][1][0].min(axis=0) == pytest.approx([1.5, -0.5])
