"""The benchmark of outlines: known distances between the labels and the edges of blurred boxes."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.real_volumes.outlines import beyond, row
from benchmarks.real_volumes.volumes import Volume

BLUR = np.array([4.0, 2.0, 1.0])  # voxels
WIDER = np.array([5, 2, 0])  # voxels by which a label is larger than its box, at each end
SHAPE = (96, 64, 64)
FIRST, LAST = np.array([30, 20, 24]), np.array([66, 44, 40])


def box(first, last) -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = True
    return inside


def blurred() -> np.ndarray:
    """A box of 36, 24 and 16 voxels: the centre of a flat edge stays halfway between object and background."""
    return ndimage.gaussian_filter(100.0 + 50.0 * box(FIRST, LAST).astype(np.float32), BLUR)


def labelled() -> np.ndarray:
    return box(FIRST - WIDER, LAST + WIDER).astype(np.int32)


@pytest.mark.parametrize(
    ("share", "sigmas"),
    [(0.5, 0.0), (0.25, 0.6745)],
    ids=["half", "quarter: 0.67 standard deviations outside"],
)
def test_the_distance_of_labels_from_blurred_edges(share: float, sigmas: float) -> None:
    found = beyond(blurred(), labelled(), share)
    assert found.shape == (1, 3)
    assert found[0] == pytest.approx(WIDER - sigmas * BLUR, abs=0.2)


def test_distances_are_in_diameters_of_the_median_object() -> None:
    volume = Volume("box", blurred(), labelled(), (2.0, 0.5, 0.5), diameter=40.0)
    cells = row(volume, volume.truth)
    assert cells["objects"] == 1
    assert cells["half, z"] == pytest.approx(5 * 4 / 40, abs=0.02)
    assert cells["half, y"] == pytest.approx(2 / 40, abs=0.01)


def test_edges_at_another_object_or_at_a_face_do_not_count() -> None:
    labels = labelled()
    labels[:, LAST[1] + WIDER[1] + 1 :] = 2  # one voxel beside the box along y
    both = beyond(blurred(), labels, 0.5)[0]
    labels[:, : FIRST[1] - WIDER[1]] = 3  # and at its other end
    neither = beyond(blurred(), labels, 0.5)[0]
    assert both == pytest.approx(WIDER, abs=0.2)
    assert np.isnan(neither[1])
    assert neither[[0, 2]] == pytest.approx(WIDER[[0, 2]], abs=0.2)
    face = FIRST[0] + 34
    cut = beyond(blurred()[:face], labelled()[:face], 0.5)[0]
    assert cut == pytest.approx(WIDER, abs=0.3)  # along z the other end counts


def test_small_pieces_are_left_out() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[10:14, 10:14, 10:14] = 1
    assert beyond(blurred(), labels, 0.5).shape == (0, 3)
