"""Normalisation against numpy's quantiles, for every number type."""

import numpy as np
import pytest
import torch

from anystar_torch.inference.intensity_range import IntensityRange, intensity_range

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64, ">u2", ">f4"]


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_are_numpys_quantiles(kind):
    volume = (np.random.default_rng(0).gamma(2, 12, (9, 14, 17)) - 20).clip(
        0 if np.dtype(kind).kind == "u" else -128, 127
    )
    volume = volume.astype(kind)
    exact = volume.astype(np.float64)
    found = intensity_range(volume, "percentile")
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(exact, [0.01, 0.998])), rel=1e-6, abs=1e-6
    )
    assert not found.clip
    assert (intensity_range(volume, "minmax").low, intensity_range(volume, "minmax").high) == (
        exact.min(),
        exact.max(),
    )
    anystar = intensity_range(volume, "anystar")
    assert (anystar.low, anystar.high) == pytest.approx((exact.min(), np.quantile(exact, 0.999)), rel=1e-6)
    assert anystar.clip
    clipped = intensity_range(volume, "clipped")
    assert (clipped.low, clipped.high) == pytest.approx(
        tuple(np.quantile(exact, [0.001, 0.999])), rel=1e-6, abs=1e-6
    )
    assert clipped.clip


def test_a_clipped_negative_is_the_negative_of_the_clipped():
    volume = np.random.default_rng(1).gamma(2, 200, (9, 14, 17)).astype(np.uint16)
    negative = (60000 - volume).astype(np.uint16)
    one, other = (
        intensity_range(v, "clipped").normalise(torch.from_numpy(v.astype(np.float32)))
        for v in (volume, negative)
    )
    torch.testing.assert_close(other, 1 - one, rtol=0, atol=1e-4)


def test_large_float_volumes_are_sampled():
    volume = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    volume[0, 0, 0] = 99
    found = intensity_range(volume, "percentile", sampled=20000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(volume, [0.01, 0.998])), abs=0.15)
    assert intensity_range(volume, "minmax", sampled=20000).high == 99
    assert intensity_range(volume, "percentile", sampled=20000) == found


def test_a_range_is_mapped_to_zero_and_one_and_clipped():
    image = torch.tensor([[2.0, 4.0, 6.0, torch.nan, torch.inf, -torch.inf, 0.0]])
    assert IntensityRange(2.0, 6.0, True).normalise(image).tolist() == [[0, 0.5, 1, 0, 1, 0, 0]]
    assert IntensityRange(2.0, 6.0, False).normalise(image).tolist() == [[0, 0.5, 1, 0, 1, 0, -0.5]]


def test_rare_bright_voxels_define_the_range():
    volume = np.zeros((20, 30, 40), np.uint8)
    volume[3, 4, 5] = 200
    assert intensity_range(volume, "anystar").high == 200


def test_a_volume_without_a_range_is_refused():
    with pytest.raises(ValueError, match="no finite value"):
        intensity_range(np.full((2, 2, 2), np.inf), "minmax")
    with pytest.raises(ValueError, match="percentile, minmax, anystar"):
        intensity_range(np.zeros((2, 2, 2)), "none")
