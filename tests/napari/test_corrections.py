"""Corrections of labels: what changes, and what is refused."""

import numpy as np
import pytest
import torch

from anystar_torch.geometry.ops import render_labels
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.napari.corrections import Difference, added, deleted, split
from anystar_torch.napari.polyhedron import Polyhedron, polyhedron_at
from tests.inference.scenes import RADIUS, balls

RAYS = Rays.golden_spiral(32)


def ball(point, radius=4.0):
    distances = np.full(len(RAYS), radius, np.float32)
    return Polyhedron(np.array(point, np.float32), distances, RAYS, 0.9)


def applied(labels, change):
    labels = labels.copy()
    labels[change.place] = change.label
    return labels


def test_an_added_object_takes_only_free_voxels_and_a_new_label():
    labels = np.zeros((20, 20, 20), np.int32)
    labels[:, :10] = 7
    after = applied(labels, added(labels, ball((10, 10, 10))))
    whole = render_labels(
        torch.tensor([[10.0, 10, 10]]), torch.full((1, len(RAYS)), 4.0), RAYS, (20, 20, 20)
    ).numpy()
    assert np.array_equal(after == 8, (whole > 0) & (labels == 0))
    assert np.array_equal(after == 7, labels == 7)


def test_an_added_object_may_reach_out_of_the_volume():
    labels = np.zeros((6, 6, 6), np.int32)
    after = applied(labels, added(labels, ball((0, 0, 0))))
    assert after[0, 0, 0] == 1
    assert after[5, 5, 5] == 0


def test_covered_places_and_places_outside_are_refused():
    with pytest.raises(ValueError, match="cover"):
        added(np.ones((9, 9, 9), np.int32), ball((4, 4, 4), 2.0))
    with pytest.raises(ValueError, match="outside"):
        added(np.zeros((9, 9, 9), np.int32), ball((50, 4, 4), 2.0))


def test_a_deleted_object_leaves_the_others():
    labels = np.zeros((8, 8, 8), np.int32)
    labels[1:3], labels[5:7] = 3, 4
    after = applied(labels, deleted(labels, 3))
    assert set(np.unique(after)) == {0, 4}
    assert np.array_equal(after == 4, labels == 4)
    with pytest.raises(ValueError, match="no object"):
        deleted(labels, 9)


@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.0)])
def test_a_split_cuts_two_balls_where_they_meet(spacing):
    z, y, x = np.indices((21, 21, 41))
    left = (z - 10) ** 2 + (y - 10) ** 2 + (x - 11) ** 2 <= 81
    right = (z - 10) ** 2 + (y - 10) ** 2 + (x - 28) ** 2 <= 81
    labels = 5 * (left | right).astype(np.int32)
    labels[0, 0, 0] = 2
    after = applied(labels, split(labels, (10, 10, 9), (12, 10, 30), spacing))
    assert np.array_equal(after > 0, labels > 0)
    assert after[0, 0, 0] == 2
    assert after[10, 10, 9] == 5
    assert after[12, 10, 30] == 6
    plane = np.where(x <= 19, 5, 6)  # the balls are mirror images about x = 19.5
    wrong = (after != plane) & (labels == 5)
    assert wrong.sum() <= 0.02 * (labels == 5).sum()


def test_a_split_needs_two_places_of_one_object():
    labels = np.zeros((4, 4, 8), np.int32)
    labels[..., :3], labels[..., 5:] = 1, 2
    for pair in [((1, 1, 1), (1, 1, 6)), ((1, 1, 4), (1, 1, 4)), ((1, 1, 1), (1, 1, 1))]:
        with pytest.raises(ValueError, match="two places"):
            split(labels, *pair)


def test_the_difference_counts_what_was_corrected_by_any_tool():
    before = np.zeros((10, 10, 10), np.int32)
    before[0:2], before[3:5], before[6:8] = 1, 2, 3
    after = before.copy()
    after[after == 1] = 0
    after[3, 0, 0:3] = 0
    after[9, 4:6, 7] = 8
    found = Difference.between(before, after)
    assert (found.added, found.deleted, found.changed) == (1, 1, 1)
    assert found.box == (slice(0, 10), slice(0, 10), slice(0, 10))
    assert "objects corrected by hand: 1 added, 1 deleted, 1 changed" in str(found)
    assert not Difference.between(before, before)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_the_polyhedron_at_a_voxel_is_what_the_network_predicts_there(network, spacing):
    image, labels = balls((40, 40, 40), [(12, 20, 20)], RADIUS, spacing)
    volume = InputVolume(image, spacing, intensity_range(image, "minmax"))
    found = polyhedron_at(volume, (12.0, 20.0, 20.0), 2 * RADIUS, network.settings("cpu", False))
    assert found.point == pytest.approx((12, 20, 20), abs=0.6)
    lengths = np.linalg.norm(
        found.distances[:, None] * found.rays.vertices.numpy() * np.array(spacing), axis=1
    )
    assert lengths == pytest.approx(RADIUS, rel=0.1)
    box, inside = found.mask(labels.shape)
    drawn = np.zeros(labels.shape, bool)
    drawn[box] = inside
    assert (drawn & (labels > 0)).sum() > 0.75 * (drawn | (labels > 0)).sum()
