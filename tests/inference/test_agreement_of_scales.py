"""Which scales agree on a size, which one is examined next, and how objects vote, one rule at a time."""

import math

import pytest

from anystar_torch.inference.size_search import ScaleSearch, agreeing, next_diameter, voted
from anystar_torch.system.progress import silent
from tests.inference.test_size_search import measurement


def of(diameter, predicted, count=9, **options):
    """A measurement at a scale with objects of one predicted diameter."""
    return measurement(float(diameter), [predicted / diameter] * count, **options)


@pytest.mark.parametrize(
    ("found", "agree"),
    [
        ([of(30, 22), of(20, 20)], True),
        ([of(27, 22), of(20, 20)], False),  # scales with a ratio of 1.35 see the same
        ([of(30, 26.5), of(20, 20)], False),  # the sizes differ by 32 %
        ([of(40, 29), of(20, 27)], False),  # neither has the size that its scale assumes
        ([of(30, 22, count=2), of(20, 20)], False),  # two objects are too few
        ([of(30, 22), of(20, 20, count=2)], False),
        ([of(60, 22), of(45, 60), of(20, 20)], True),  # an earlier one than the last
        ([of(20, 20)], False),
    ],
)
def test_scales_that_agree(found, agree):
    pair = agreeing(found)
    assert (pair is not None) == agree
    if pair is not None:
        assert pair == (found[0], found[-1])


def test_a_coarser_scale_is_examined_once():
    """Objects of 32 voxels at a scale of 20: at 32 the network has looked before."""
    assert next_diameter([of(20, 32)], 2.0) == pytest.approx(32)
    assert next_diameter([of(32, 20), of(20, 32)], 2.0) == pytest.approx(20 / 1.5)


def scripted(measurements, cost=1e9, least=1000.0, most=1e6):
    """A search whose measurements are known, and the arguments with which they were asked for."""
    asked, left = [], iter(measurements)

    def measure(diameter, voxels, found):
        asked.append((diameter, voxels))
        return next(left)

    return ScaleSearch(measure, lambda diameter: cost, least, most), asked


def test_a_size_that_a_scale_does_not_fit_is_measured_once_more():
    """The scales 30 and 20 agree on about 24, which differs from both by more than 10 %."""
    search, asked = scripted([of(30, 25), of(20, 23.5), of(23.5, 23)])
    assert search.run(30, silent).diameter == pytest.approx(23)
    assert [diameter for diameter, _ in asked] == pytest.approx([30, 20, 23.5])
    assert asked[2][1] == 1e6, "at most the largest box"


def test_a_further_measurement_that_fits_less_is_not_taken():
    for worse in (of(23.5, 40), of(23.5, 23, count=1)):
        search, asked = scripted([of(30, 25), of(20, 23.5), worse])
        found = search.run(30, silent)
        assert found.diameter == pytest.approx(23.5)
        assert found.scales == len(asked) == 3


def test_a_size_that_a_scale_fits_is_not_measured_again():
    search, asked = scripted([of(30, 21), of(20, 20.5)])
    assert search.run(30, silent).diameter == pytest.approx(20.5)
    assert len(asked) == 2


def test_no_scale_assumes_objects_without_a_shape():
    search, asked = scripted([of(4, 4), of(4 / 1.5, 4)])
    search.run(2.0, silent)
    assert asked[0][0] == 4


def test_as_long_as_nothing_is_known_the_box_has_three_times_the_voxels_of_the_smallest():
    allowed = []

    def measure(diameter, voxels, found):
        allowed.append(voxels)
        return measurement(float(diameter), [])

    assert ScaleSearch(measure, lambda diameter: 0.0, 1000.0, 1e6).run(30, silent) is None
    assert set(allowed) == {3000.0}


def test_a_lost_size_ends_the_search_only_without_voxels_left():
    """Scales of 30 and of 20 voxels have objects of other sizes; at a finer scale there is nothing."""
    measurements = [of(30, 16), of(16, 11), of(11, 11, count=0), of(5.5, 5.5, count=0)]
    search, asked = scripted(measurements)
    search.run(30, silent)
    assert len(asked) == 4
    search, asked = scripted(measurements, cost=100.0)
    search.run(30, silent)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"score": 0.7, "covered": 0.3}, {"score": 0.9, "covered": 0.1}, 40),  # (0.9 / 0.7)^8 is 7.5
        ({"score": 0.8, "covered": 0.3}, {"score": 0.85, "covered": 0.1}, 20),  # (0.85 / 0.8)^8 is 1.6
    ],
)
def test_votes_weigh_by_the_eighth_power_of_the_score_and_the_share_they_fill(first, second, winner):
    found = voted([of(20, 20, **first), of(40, 40, **second)])
    assert found.diameter == pytest.approx(winner, rel=0.02)


def test_fragments_weigh_as_the_volume_they_fill():
    """Twelve objects of 0.6 times the size have 2.6 times the volume, but a size that the network knows less."""
    found = voted([measurement(20.0, [1.0] + [0.6] * 12)])
    assert found.diameter == pytest.approx(20, rel=0.02)


def test_sizes_that_differ_do_not_share_their_votes():
    """Ratios of 1.67 and 1.5: a wide kernel would elect the one in the middle."""
    found = voted([of(12, 12, covered=0.1), of(20, 20, covered=0.08), of(30, 30, covered=0.08)])
    assert found.diameter == pytest.approx(12, rel=0.02)
    assert found.support == pytest.approx(0.1 / 0.26, abs=0.01)
    assert math.log(20 / 12) > math.log(1.5)  # those near the size support it
