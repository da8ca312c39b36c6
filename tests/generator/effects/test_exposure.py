"""Intensity ranges of grey values against numpy's quantiles."""

import numpy as np
import pytest
import torch

from anystar_torch.generator.effects.exposure import RandomExposure, exposure
from anystar_torch.kernels.intensities import QUANTILE_STRIDE


def test_shares_of_the_voxels_are_clipped_at_numpys_quantiles() -> None:
    image = torch.randn(3, 1, 24, 25, 26, generator=torch.Generator().manual_seed(0)).exp()
    dark, bright = torch.tensor([0.0, 0.05, 0.2]), torch.tensor([0.1, 0.02, 0.0])
    out = exposure(image, dark, bright)
    for n in range(3):
        every = image[n].flatten()[::QUANTILE_STRIDE].numpy()
        low, high = np.quantile(every, [dark[n].item(), 1 - bright[n].item()], method="nearest")
        expected = np.clip((image[n].numpy() - low) / (high - low), 0, 1)
        np.testing.assert_allclose(out[n].numpy(), expected, atol=1e-5)
        assert (out[n] == 0).float().mean().item() == pytest.approx(dark[n].item(), abs=0.03)
        assert (out[n] == 1).float().mean().item() == pytest.approx(bright[n].item(), abs=0.03)


def test_a_constant_becomes_0() -> None:
    assert torch.equal(
        exposure(torch.full((2, 1, 8, 8, 8), 7.0), torch.zeros(2), torch.zeros(2)), torch.zeros(2, 1, 8, 8, 8)
    )


@pytest.mark.parametrize("share", [(-0.1, 0.1), (0.0, 0.5), (0.2, 0.1)])
def test_refuses_shares_that_leave_nothing(share: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="dark must be"):
        RandomExposure(dark=share, bright=(0.0, 0.0))
