"""What is measured of the objects in a box: balls of known sizes and places, and medians by counting."""

import math

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.size_measurement import (
    Measurement,
    box_around,
    box_size,
    distances_to_faces,
    measure_candidates,
    most_textured_place,
    weighted_median,
)

RAYS = Rays.golden_spiral(500)
SHAPE = (40, 60, 80)
RADIUS = 6.0


def candidates(points, radius=RADIUS, scores=None, shape=SHAPE, rays=RAYS):
    """Balls of one radius, best first."""
    scores = np.linspace(0.9, 0.5, len(points)) if scores is None else np.array(scores)
    return Candidates(
        points=np.array(points, np.float32),
        distances=np.full((len(points), len(rays)), radius, np.float16),
        scores=scores.astype(np.float32),
        rays=rays,
        scaling=Scaling(shape, shape),
        diameter=20.0,
        prob_thresh=0.1,
    )


def cut_ball(depth):
    """Volume of a ball that a plane cuts, of which so much of the diameter is left."""
    return math.pi * depth**2 * (3 * RADIUS - depth) / 3


def test_objects_that_the_box_cuts_are_left_out_but_not_those_at_faces_of_the_volume():
    """The box is a part of the volume along x, and reaches beyond it along y."""
    start, stop = (0, 0, 20), (40, 64, 60)
    whole = [(20, 30, 40), (3, 10, 30), (38, 10, 50), (20, 57, 30), (30, 45, 27)]
    cut = [(20, 30, 24), (20, 30, 57), (10, 45, 25)]
    found = measure_candidates(candidates([*whole, *cut]), start, stop, 13.0, 0.3, voxels=7)
    assert found.places * SHAPE - 0.5 == pytest.approx(np.array(whole), abs=1e-6)
    inside = np.array([cut_ball(depth) for depth in (12, 9.5, 7.5, 8.5, 12)])
    assert found.sizes == pytest.approx(np.cbrt(6 / math.pi * inside) / 13, rel=0.01)
    assert found.scores == pytest.approx(np.linspace(0.9, 0.5, 8)[:5])
    assert found.covered == pytest.approx(inside.sum() / (40 * 60 * 40), rel=0.02)
    assert (found.diameter, found.voxels) == (20.0, 7)


def test_an_object_is_counted_once():
    """The second candidate lies almost where the first one does."""
    found = measure_candidates(candidates([(20, 30, 40), (20, 30, 41)]), (0, 0, 0), SHAPE, 13.0, 0.3)
    assert len(found.sizes) == 1
    assert found.scores[0] == pytest.approx(0.9)


def test_an_object_in_a_thin_volume_is_not_as_thick_as_it_is_wide():
    """Of a ball of radius 10 in five slices, the part between the faces."""
    shape = (5, 60, 60)
    ball = candidates([(2, 30, 30)], 10.0, shape=shape, rays=Rays.golden_spiral(2000))
    found = measure_candidates(ball, (0, 0, 0), shape, 1.0, 0.3)
    volume = 2 * math.pi * (10.0**2 * 2.5 - 2.5**3 / 3)
    assert found.sizes[0] == pytest.approx(np.cbrt(6 / math.pi * volume), rel=0.01)
    assert found.inside[0] == pytest.approx(volume / (4 / 3 * math.pi * 10**3), rel=0.03)


def test_a_volume_of_few_slices_counts_as_thicker():
    """For a median of 20 voxels, planes 4 voxels from the middle of three slices in place of 1.5."""
    ball = candidates([(1, 30, 30)], 10.0, shape=(3, 60, 60), rays=Rays.golden_spiral(2000))
    found = measure_candidates(ball, (0, 0, 0), (3, 60, 60), 20.0, 0.3)
    volume = 2 * math.pi * (10.0**2 * 4 - 4**3 / 3)
    assert found.sizes[0] == pytest.approx(np.cbrt(6 / math.pi * volume) / 20, rel=0.01)
    assert found.inside[0] == pytest.approx(volume / (4 / 3 * math.pi * 10**3), rel=0.02)


@pytest.mark.parametrize(("z", "depth"), [(20, 12.0), (5, 11.5), (0, 6.5), (37, 8.5)])
def test_the_share_of_an_object_inside_is_that_of_a_cut_ball(z, depth):
    """``depth`` is how much of the diameter of 12 voxels lies inside along z."""
    ball = candidates([(z, 30, 40)], rays=Rays.golden_spiral(2000))
    found = measure_candidates(ball, (0, 0, 0), SHAPE, 1.0, 0.3)
    assert found.inside[0] == pytest.approx(cut_ball(depth) / cut_ball(2 * RADIUS), rel=0.02)
    assert found.sizes[0] == pytest.approx(np.cbrt(6 / math.pi * cut_ball(depth)), rel=0.01)


def test_an_object_at_a_face_of_a_part_counts_as_a_whole_where_the_image_goes_on():
    """Along z the image goes on by 3 voxels before the part, along x by more than the ball needs."""
    ball = candidates([(0, 30, 79)], rays=Rays.golden_spiral(2000))
    seen, part, whole = (
        measure_candidates(ball, (0, 0, 0), SHAPE, 1.0, 0.3, beyond=(before, (0, 0, beyond)))
        for before, beyond in (((0, 0, 0), 0), ((3, 0, 0), 9), ((20, 0, 0), 9))
    )
    assert seen.sizes[0] < part.sizes[0] < whole.sizes[0]
    assert part.sizes[0] == pytest.approx(np.cbrt(6 / math.pi * cut_ball(9.5)), rel=0.01)
    assert whole.sizes[0] == pytest.approx(2 * RADIUS, rel=0.01)
    assert part.inside == pytest.approx(seen.inside)
    assert whole.inside == pytest.approx(seen.inside)
    assert seen.covered == pytest.approx(whole.covered)


@pytest.mark.parametrize(("start", "stop"), [((0, 0, 0), (6, 20, 30)), ((-7, 0, -2), (9, 16, 30))])
def test_distances_end_at_the_faces(start, stop):
    """Along each ray, against steps of a hundredth of a voxel."""
    point, rays = np.array([[3.0, 15.0, 8.0]]), Rays.golden_spiral(40)
    found = distances_to_faces(point, start, stop, rays)[0]
    for direction, distance in zip(rays.vertices.numpy(), found, strict=True):
        places = point[0] + np.arange(0, 60, 0.01)[:, None] * direction
        inside = ((places > np.array(start) - 0.5) & (places < np.array(stop) - 0.5)).all(axis=1)
        assert distance == pytest.approx(0.01 * inside.argmin(), abs=0.02)


def test_much_texture_counts_more_than_one_edge():
    """A lone bright speck has the strongest edges; around the other place grey values vary everywhere."""
    image = np.zeros((40, 40, 40), np.float32)
    image[6:9, 6:9, 30:33] = 1
    image[22:36, 22:36, 4:18] = 0.7 * np.random.default_rng(0).random((14, 14, 14))
    place = most_textured_place(image, IntensityRange(0.0, 1.0, True))
    assert np.array(place) * 40 == pytest.approx([29, 29, 11], abs=5)


@pytest.mark.parametrize("seed", range(5))
def test_the_weighted_median_is_that_of_repeated_values(seed):
    random = np.random.default_rng(seed)
    values, weights = random.normal(size=9), random.integers(0, 6, 9)
    weights[3] += 1 - weights.sum() % 2  # an odd number of values has a middle one
    assert weighted_median(values, weights.astype(float)) == np.median(np.repeat(values, weights))


def measurement(sizes, scores, diameter=20.0, inside=None):
    places, inside = np.zeros((len(sizes), 3)), np.ones(len(sizes)) if inside is None else np.array(inside)
    return Measurement(diameter, np.array(sizes, float), np.array(scores, float), 0.1, places, 0, inside)


def test_the_effective_number_is_that_of_kish():
    """Weights are fourth powers of the scores: 1 and 1/16 here."""
    assert measurement([1] * 5, [0.7] * 5).number == pytest.approx(5)
    one = measurement([1, 1, 1], [1.0, 0.5, 0.5])
    assert one.number == pytest.approx((1 + 2 / 16) ** 2 / (1 + 2 / 256))
    assert not one.enough
    assert measurement([1] * 3, [0.5] * 3).enough
    assert measurement([1] * 3, [0.9, 0.8, 0.8]).enough
    assert not measurement([1] * 2, [0.9] * 2).enough
    assert measurement([], []).number == 0


def test_the_predicted_diameter_is_the_median_of_the_reliable_objects():
    """Two objects with a low score weigh less than one with a high score."""
    one = measurement([0.5, 0.6, 1.2], [0.5, 0.5, 1.0])
    assert one.predicted == pytest.approx(24)
    assert one.mismatch == pytest.approx(math.log(1.2))
    assert measurement([0.5], [0.9]).mismatch == pytest.approx(math.log(2))
    assert math.isnan(measurement([], []).predicted)


def test_objects_that_a_face_cuts_weigh_as_much_as_is_inside():
    one = measurement([0.6, 0.7, 1.2], [0.8] * 3, inside=[0.4, 0.4, 1.0])
    assert one.predicted == pytest.approx(24)
    assert one.number == pytest.approx(1.8**2 / (0.4**2 + 0.4**2 + 1))


def test_the_busiest_place_has_most_within_half_the_box():
    """On a line, along x: three objects within 0.1 of the middle one, and two that are closer together."""
    x = np.array([0.1, 0.11, 0.45, 0.5, 0.55])
    places = np.stack([np.full(5, 0.5), np.full(5, 0.25), x], 1)
    one = Measurement(10.0, np.ones(5), np.full(5, 0.8), 0.1, places)
    assert one.busiest_place((1.0, 1.0, 0.12)) == (0.5, 0.25, 0.5)
    better = Measurement(10.0, np.ones(5), np.array([0.9, 0.9, 0.5, 0.5, 0.5]), 0.1, places)
    assert better.busiest_place((1.0, 1.0, 0.12))[2] < 0.2


@pytest.mark.parametrize(
    ("shape", "most", "expected"),
    [
        ((30, 30, 30), 32**3, (32, 32, 32)),  # as large as is allowed
        ((30, 30, 30), 32**3 - 1, (24, 32, 32)),
        ((10, 20, 300), 20_000, (16, 24, 48)),
        ((8, 8, 8), 10, (8, 8, 8)),  # one divisor is not shortened
        ((5, 40, 8), 100, (8, 8, 8)),
    ],
)
def test_a_box_is_shortened_along_its_longest_axis(shape, most, expected):
    assert box_size(shape, (8, 8, 8), most) == expected


def test_a_box_is_centred_at_its_place_and_moved_into_the_volume():
    start, stop = box_around((0.5, 0.25, 1.0), (100, 100, 100), (20, 20, 20))
    assert start == (40, 15, 80)
    assert stop == (60, 35, 100)
    assert box_around((0.0, 0.5, 0.5), (100, 100, 10), (20, 20, 16)) == ((0, 40, 0), (20, 60, 16))
