"""The bias field against numpy's Legendre series, and what a field must be."""

import numpy as np
import pytest
import torch
from monai.transforms import RandBiasField
from numpy.polynomial.legendre import leggrid3d

from anystar_torch.generator.effects.bias_field import RandomBiasField, bias_field
from anystar_torch.kernels.intensities import LEGENDRE_DEGREES
from anystar_torch.random.source import Source


def reference(coefficients: np.ndarray, extent: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    table = np.zeros((4, 4, 4))
    for value, term in zip(coefficients, LEGENDRE_DEGREES, strict=True):
        table[term] = value
    return np.exp(leggrid3d(*(e * np.linspace(-1, 1, n) for e, n in zip(extent, shape, strict=True)), table))


def test_field_equals_legendre_series_sample_by_sample() -> None:
    rng = np.random.default_rng(0)
    coefficients, extent = rng.uniform(-0.3, 0.3, (4, 20)), rng.uniform(-1, 1, (4, 3))
    image = rng.uniform(size=(4, 1, 7, 9, 12))
    out = bias_field(
        torch.tensor(image, dtype=torch.float32),
        torch.tensor(coefficients, dtype=torch.float32),
        torch.tensor(extent, dtype=torch.float32),
    )
    for n in range(4):
        expected = image[n, 0] * reference(coefficients[n], extent[n], (7, 9, 12))
        np.testing.assert_allclose(out[n, 0], expected, atol=1e-4, rtol=1e-5)


def test_equals_monai_for_its_coefficients() -> None:
    monai = RandBiasField(degree=3, coeff_range=(0.0, 0.1), prob=1.0).set_random_state(5)
    image = torch.rand(1, 8, 10, 6, generator=torch.Generator().manual_seed(0))
    expected = monai(image)
    out = bias_field(image[None], torch.tensor([monai._coeff], dtype=torch.float32), torch.ones(1, 3))
    torch.testing.assert_close(out[0], torch.as_tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


def test_drawn_fields_brighten_a_corner_that_varies() -> None:
    effect = RandomBiasField(coefficient=(0.0, 0.1), extent=(0.5, 1.0))
    source = Source.of(torch.arange(64), seed=0, split="test")
    field = effect(torch.ones(64, 1, 8, 8, 8), source)
    corners = field[:, 0, ::7, ::7, ::7].reshape(64, 8)
    assert len(set(corners.argmax(1).tolist())) == 8
    assert (corners.amax(1) > 1).all()
    assert (field > 0).all()


@pytest.mark.parametrize("extent", [(0.0, 1.5), (1.0, 0.5), (-0.1, 1.0)])
def test_refuses_an_extent_that_is_no_share(extent: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="extent must be"):
        RandomBiasField(coefficient=(0.0, 0.1), extent=extent)
