"""Warnings of sizes that are implausible, before and after a prediction."""

import math

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.coarse_pass import COARSE_FACTOR, CoarsePass, knows_coarse_objects
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import check_found_size, check_found_volumes, check_given_size
from anystar_torch.inference.scaling import Scaling
from tests.inference.scenes import config

VOLUME = InputVolume(np.zeros((10, 40, 30), np.uint8), (2.0, 1.0, 1.0), IntensityRange(0.0, 1.0, False))
BAND = config(diameter_band=(8.0, 13.0, 21.0))


def ball(diameter):
    return math.pi / 6 * diameter**3


@pytest.mark.parametrize(
    ("diameter", "words"),
    [
        (1.0, "too small to have a shape"),
        (2.9, "too small to have a shape"),
        (3.0, None),
        (40.0, None),  # as long as the longest side
        (40.1, "larger than the volume"),
    ],
)
def test_a_given_size_is_doubted_outside_of_what_the_volume_can_show(diameter, words):
    size = check_given_size(diameter, VOLUME)
    assert size.diameter == diameter
    assert [words in str(warning) for warning in size.warnings] == ([] if words is None else [True])


def test_a_size_below_a_voxel_is_refused():
    with pytest.raises(ValueError, match=r"at least 1 voxel of the finest axis, got 0\.99"):
        check_given_size(0.99, VOLUME)


@pytest.mark.parametrize(
    ("diameter", "doubted"), [(7.9, True), (8.1, False), (13.0, False), (20.9, False), (21.1, True)]
)
def test_objects_outside_of_the_sizes_of_training_are_doubted(diameter, doubted):
    """The volume has eight times as many voxels as the network sees: the diameters are twice as large in it."""
    scaling = Scaling((80, 80, 80), (40, 40, 40))
    volumes = np.full(5, ball(2 * diameter))
    warning = check_found_volumes(volumes, scaling, 26.0, BAND)
    assert (warning is not None) == doubted
    if warning is not None:
        assert str(warning).startswith("objects of 26 voxels were expected")
        assert f"measure {2 * diameter:.3g}" in str(warning)
        assert "(16 to 42)" in str(warning)


def test_the_median_object_decides():
    scaling = Scaling((40, 40, 40), (40, 40, 40))
    sizes = np.array([ball(2.0), ball(2.0), ball(13.0), ball(14.0), ball(60.0)])
    assert check_found_volumes(sizes, scaling, 13.0, BAND) is None
    assert check_found_volumes(np.full(4, ball(2.0)), scaling, 13.0, BAND) is None  # too few to tell
    unknown = config(diameter_band=(8.0, 13.0, 21.0), sizes_known=False)
    assert check_found_volumes(np.full(9, ball(2.0)), scaling, 13.0, unknown) is None


def test_volumes_are_those_of_the_polyhedra():
    rays, scaling = Rays.golden_spiral(500), Scaling((40, 40, 40), (40, 40, 40))
    for radius, doubted in ((6.5, False), (15.0, True)):
        warning = check_found_size(np.full((6, 500), radius, np.float32), rays, scaling, 13.0, BAND)
        assert (warning is not None) == doubted


def test_a_coarse_pass_needs_objects_that_are_smaller_by_its_factor():
    assert COARSE_FACTOR == 1.5
    assert knows_coarse_objects((10.0, 15.0, 20.0))
    assert not knows_coarse_objects((10.1, 15.0, 20.0))


def test_the_memory_of_the_coarse_pass_is_that_of_its_float32_grid():
    assert CoarsePass.nbytes((9, 20, 31), (2, 4, 1)) == np.zeros((5, 5, 31), np.float32).nbytes
