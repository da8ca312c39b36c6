"""Normalisation against numpy's quantiles, for every number type."""

import numpy as np
import pytest
import torch

from anystar_torch.inference import normalise
from anystar_torch.inference.normalise import METHODS, window
from anystar_torch.network.weights import NORMALISATIONS

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64, ">u2", ">f4"]


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_numpys_quantiles(kind):
    volume = (np.random.default_rng(0).gamma(2, 12, (9, 14, 17)) - 20).clip(
        0 if np.dtype(kind).kind == "u" else -128, 127
    )
    volume = volume.astype(kind)
    exact = volume.astype(np.float64)
    found = window(volume, "percentile")
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(exact, [0.01, 0.998])), rel=1e-6, abs=1e-6
    )
    assert not found.clip
    assert (window(volume, "minmax").low, window(volume, "minmax").high) == (exact.min(), exact.max())
    anystar = window(volume, "anystar")
    assert (anystar.low, anystar.high) == pytest.approx((exact.min(), np.quantile(exact, 0.999)), rel=1e-6)
    assert anystar.clip
    clipped = window(volume, "clipped")
    assert (clipped.low, clipped.high) == pytest.approx(
        tuple(np.quantile(exact, [0.001, 0.999])), rel=1e-6, abs=1e-6
    )
    assert clipped.clip


def test_a_clipped_negative_is_the_negative_of_the_clipped():
    volume = np.random.default_rng(1).gamma(2, 200, (9, 14, 17)).astype(np.uint16)
    negative = (60000 - volume).astype(np.uint16)
    one, other = (window(v, "clipped")(torch.from_numpy(v.astype(np.float32))) for v in (volume, negative))
    torch.testing.assert_close(other, 1 - one, rtol=0, atol=1e-4)


def test_large_float_volumes_are_sampled(monkeypatch):
    monkeypatch.setattr(normalise, "_EXACT", 20000)
    volume = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    volume[0, 0, 0] = 99
    found = window(volume, "percentile")
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(volume, [0.01, 0.998])), abs=0.15)
    assert window(volume, "minmax").high == 99
    assert window(volume, "percentile") == found


def test_window_maps_to_zero_and_one_and_clips():
    image = torch.tensor([[2.0, 4.0, 6.0, torch.nan, torch.inf, -torch.inf, 0.0]])
    assert normalise.Window(2.0, 6.0, True)(image).tolist() == [[0, 0.5, 1, 0, 1, 0, 0]]
    assert normalise.Window(2.0, 6.0, False)(image).tolist() == [[0, 0.5, 1, 0, 1, 0, -0.5]]


def test_rare_bright_voxels_are_not_lost():
    volume = np.zeros((20, 30, 40), np.uint8)
    volume[3, 4, 5] = 200
    assert window(volume, "anystar").high == 200


def test_what_has_no_window_is_refused():
    with pytest.raises(ValueError, match="no finite value"):
        window(np.full((2, 2, 2), np.inf), "minmax")
    with pytest.raises(ValueError, match="percentile, minmax, anystar"):
        window(np.zeros((2, 2, 2)), "none")


def test_every_name_has_its_method():
    assert set(METHODS) == set(NORMALISATIONS)
