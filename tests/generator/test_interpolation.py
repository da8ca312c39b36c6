"""The three-tap filters do to edges and to noise what linear interpolation does."""

import numpy as np
import pytest
import torch

from anystar_torch.generator.interpolation import MEAN_SPREAD, noise_side_tap, side_tap
from anystar_torch.kernels.filters import smooth, smooth_noise


def interpolated(image: np.ndarray, fraction: float) -> np.ndarray:
    """Linear interpolation at one fraction between voxels, along each axis."""
    for axis in range(3):
        image = (1 - fraction) * image + fraction * np.roll(image, -1, axis)
    return image


@pytest.mark.long
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.5])
def test_noise_keeps_the_variance_it_keeps_under_interpolation(fraction: float) -> None:
    noise = np.random.default_rng(0).normal(size=(1, 1, 40, 40, 40)).astype(np.float32)
    image = torch.from_numpy(noise)
    expected = interpolated(noise[0, 0], fraction).std()
    tap = torch.full((1, 1, 1, 1, 1), noise_side_tap(fraction * (1 - fraction)))
    assert smooth(image, tap).std().item() == pytest.approx(
        expected, rel=0.04
    )  # continued faces keep a little more
    at_voxels = smooth_noise(image, torch.full((1, 3, 40, 40, 40), fraction))
    assert at_voxels.numpy() == pytest.approx(smooth(image, tap).numpy(), abs=1e-5)


@pytest.mark.parametrize("variance", [0.0, MEAN_SPREAD, 0.5])
def test_edges_are_spread_by_the_variance_and_stay_in_place(variance: float) -> None:
    step = torch.zeros(1, 1, 16, 4, 4)
    step[:, :, 8:] = 1.0
    out = smooth(step, torch.full((1, 1, 1, 1, 1), side_tap(variance)))[0, 0, :, 0, 0]
    weight = out.diff()
    place = torch.arange(15) - 7.0
    assert (weight * place).sum().item() == pytest.approx(0.0, abs=1e-6)
    assert (weight * place**2).sum().item() == pytest.approx(variance, abs=1e-6)


def test_constants_stay_as_they_are() -> None:
    image = torch.full((2, 1, 5, 6, 7), 0.3)
    assert torch.equal(smooth(image, torch.rand(2, 1, 1, 1, 1) * 0.5), image)
    assert torch.equal(smooth_noise(image, torch.rand(2, 3, 5, 6, 7)), image)
