"""The search over scales, with measurements of objects of known sizes instead of a network."""

import math

import numpy as np
import pytest
import torch

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference import size_measurement
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.size_measurement import Measurement, box_around, box_size
from anystar_torch.inference.size_search import MIN_DIAMETER, ScaleSearch, next_diameter, voted
from anystar_torch.system.progress import silent
from tests.inference.scenes import balls

SIDE, MEDIAN, LEAST = 200.0, 13.0, 60_000.0


def measurement(diameter, sizes, score=0.7, covered=0.1, voxels=0):
    sizes = np.asarray(sizes, float)
    places = np.linspace(0.1, 0.9, 3 * len(sizes)).reshape(-1, 3)
    return Measurement(diameter, sizes, np.full(len(sizes), score), covered, places, voxels)


def cost(diameter):
    """Voxels of a cube of SIDE voxels in both passes."""
    return (1 + 1.5**-3) * (SIDE * MEDIAN / diameter) ** 3


def seen(objects, least=0.5, most=1.9):
    """Measures objects of known diameters, as a network that finds them up to twice smaller and larger ones."""

    def measure(diameter, allowed, found):
        voxels = min((SIDE * MEDIAN / diameter) ** 3, allowed)
        share = voxels / (SIDE * MEDIAN / diameter) ** 3
        sizes = np.array(objects[: max(1, round(share * len(objects)))]) / diameter
        return measurement(
            diameter, np.maximum(sizes[(sizes > 0.7 * least) & (sizes < most)], least), voxels=voxels
        )

    return ScaleSearch(measure, cost, LEAST, 96.0**3)


@pytest.mark.parametrize("diameter", [6, 8, 11, 14, 17, 23, 31, 40])
@pytest.mark.parametrize("coarsest", [60.0, 75.0, 100.0])
def test_the_size_of_many_objects_is_found_at_half_the_cost(diameter, coarsest):
    search = seen([0.9 * diameter, diameter, 1.1 * diameter] * 40)
    found = search.run(coarsest, silent)
    assert found.diameter == pytest.approx(diameter, rel=0.05)
    assert found.support > 0.75
    # A box is examined however little is left: at most three before the size is known.
    assert sum(one.voxels for one in search.found) <= 0.5 * cost(diameter) + 3 * 3 * LEAST


@pytest.mark.parametrize("objects", [1, 2])
def test_the_size_of_few_objects_is_found(objects):
    found = seen([50.0] * objects).run(80.0, silent)
    assert found.diameter == pytest.approx(50, rel=0.1)


def test_without_objects_there_is_no_size():
    search = seen([])
    assert search.run(100.0, silent) is None
    scales = [one.diameter for one in search.found]
    assert scales[:3] == [100, 200, 50]
    assert MIN_DIAMETER <= scales[-1] < 2 * MIN_DIAMETER
    assert np.diff(np.log(scales[2:])) == pytest.approx(-math.log(2))


def test_texture_with_objects_of_the_assumed_size_at_every_scale_is_uncertain_and_ends():
    search = ScaleSearch(lambda d, allowed, found: measurement(d, np.ones(20)), cost, LEAST, 96.0**3)
    found = search.run(100.0, silent)
    assert found.support < 0.6
    assert len(search.found) <= 4


def test_few_groups_that_finer_scales_resolve_are_not_accepted():
    """Two groups of objects are seen at coarse scales, and the objects at finer ones."""
    groups, objects = seen([70.0] * 2), seen([16.0] * 80)

    def measure(diameter, allowed, found):
        return (groups if diameter > 45 else objects).measure(diameter, allowed, found)

    found = ScaleSearch(measure, cost, LEAST, 96.0**3).run(85.0, silent)
    assert found.diameter == pytest.approx(16, rel=0.05)


@pytest.mark.parametrize(("budget", "scales"), [(4 * LEAST, 3), (40 * LEAST, 4)])
def test_a_box_with_too_few_objects_ends_the_search_at_the_size_that_the_scale_before_predicts(
    budget, scales
):
    """Most of the twelve objects of the coarsest scale are small, but the largest have the votes of most weight."""
    coarse, fine = [0.55] * 7 + [0.85, 0.9, 0.9, 0.9, 0.95], [0.68, 0.7, 0.72]

    def measure(diameter, allowed, found):
        sizes = coarse if diameter > 50 else fine if diameter > 25 else [0.7, 0.7]
        return measurement(diameter, sizes, voxels=LEAST)

    search = ScaleSearch(measure, lambda diameter: budget, LEAST, 96.0**3)
    found = search.run(60.0, silent)
    assert voted(search.found[:3]).diameter > 45
    if scales == 3:
        assert found.diameter == pytest.approx(0.55 * 60 * 0.7)
    assert len(search.found) >= scales


def test_what_a_face_cuts_has_a_smaller_vote():
    sizes, places = np.array([0.7] * 5 + [1.3] * 5), np.zeros((10, 3))
    votes = [
        voted([Measurement(20.0, sizes, np.full(10, 0.8), 0.1, places, 0, np.array(inside))])
        for inside in ([1.0] * 10, [1.0] * 5 + [0.1] * 5)
    ]
    assert votes[0].diameter == pytest.approx(26, rel=0.05)
    assert votes[1].diameter == pytest.approx(14, rel=0.05)


def test_a_coarser_scale_follows_where_objects_are_larger_than_assumed():
    assert next_diameter([measurement(20.0, [1.6] * 8)], 2.0) == pytest.approx(32)


@pytest.mark.parametrize("reach", [1.7, 2.0])
def test_the_scale_changes_at_most_by_the_reach(reach):
    assert next_diameter([measurement(20.0, [0.3] * 8)], reach) == pytest.approx(20 / reach)


def test_no_scale_is_finer_than_objects_with_a_shape():
    assert next_diameter([measurement(d * MIN_DIAMETER, []) for d in (1.5, 3.0)], 2.0) is None


def test_an_outline_of_the_whole_does_not_outvote_what_it_consists_of():
    found = voted([measurement(20.0, [1.0] * 25), measurement(80.0, [1.0], covered=0.16)])
    assert found.diameter == pytest.approx(20, rel=0.05)
    assert found.support < 0.9  # the whole still has a vote


def test_a_lone_object_is_not_outvoted_by_its_fragments():
    fragments = [measurement(80.0 / 2**k, [1.0] * 6, score=0.5, covered=0.02) for k in (2, 3)]
    found = voted([*fragments, measurement(80.0, [1.0], covered=0.3)])
    assert found.diameter == pytest.approx(80, rel=0.05)


@pytest.mark.parametrize("shape", [(10, 20, 30), (300, 300, 300), (7, 2000, 2000), (4000, 5, 5)])
@pytest.mark.parametrize("most", [20_000, 96**3])
def test_the_examined_box_is_small_and_inside(shape, most):
    start, stop = box_around((0.9, 0.5, 0.0), shape, box_size(shape, (8, 8, 8), most))
    edge = np.subtract(stop, start)
    assert edge.prod() <= most
    assert (edge % 8 == 0).all()
    assert (np.array(start) >= 0).all()
    assert (np.array(stop) <= [-(-s // 8) * 8 for s in shape]).all()


def test_the_examined_box_is_where_the_grey_values_vary():
    image = np.random.default_rng(0).random((60, 70, 80), np.float32) * 0.01
    centre = [45.0, 20, 60]
    image += balls(image.shape, [centre], 9)[0]
    place = size_measurement.most_textured_place(image, IntensityRange(0.0, 1.0, True))
    assert np.array(place) * image.shape == pytest.approx(centre, abs=9)


def test_the_busiest_place_is_an_object_with_many_around_it():
    places = np.array(
        [[0.1, 0.1, 0.1], [0.5, 0.5, 0.5], [0.52, 0.55, 0.5], [0.5, 0.6, 0.45], [0.9, 0.9, 0.9]]
    )
    one = Measurement(10.0, np.ones(5), np.full(5, 0.8), 0.1, places)
    assert one.busiest_place((0.2, 0.25, 0.2)) in [tuple(place) for place in places[1:4]]


@pytest.mark.parametrize("depth", [4, 8, 14, 40])
def test_an_object_counts_as_far_as_the_faces_of_the_volume(depth):
    """A ball of radius 10 in the middle of a slab: the part between two planes, by the formula of its caps."""
    radius, rays = 10.0, Rays.golden_spiral(2000)
    shape = (depth, 400, 400)
    middle = np.array([[(depth - 1) / 2, 199.5, 199.5]])
    distances = np.minimum(radius, size_measurement.distances_to_faces(middle, (0, 0, 0), shape, rays))
    half = min(depth / 2, radius)
    expected = 2 * np.pi * (radius**2 * half - half**3 / 3)
    volume = float(rays.volume(torch.from_numpy(distances))[0])
    assert volume == pytest.approx(expected, rel=0.03)
