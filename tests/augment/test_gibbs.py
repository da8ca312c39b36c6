"""Gibbs ringing against MONAI, and the frequencies it must leave and remove."""

import pytest
import torch
from monai.transforms import GibbsNoise

from anystar_torch.augment.gibbs import RandomGibbsRinging, gibbs_ringing


@pytest.mark.parametrize("shape", [(12, 16, 14), (9, 11, 13)])
def test_equals_monai_sample_by_sample(shape: tuple[int, int, int]) -> None:
    image = torch.rand(5, 1, *shape, generator=torch.Generator().manual_seed(0))
    alpha = torch.tensor([0.01, 0.29, 0.4, 0.6, 0.95])
    out = gibbs_ringing(image, alpha)
    for n in range(5):
        expected = torch.as_tensor(GibbsNoise(alpha=float(alpha[n]))(image[n]))
        torch.testing.assert_close(out[n], expected, atol=1e-4, rtol=0)


def test_waves_beyond_the_ball_vanish_and_inside_it_stay() -> None:
    x = torch.arange(64) * (2 * torch.pi / 64)
    slow, fast = (torch.cos(f * x).expand(1, 1, 4, 4, 64) for f in (10, 28))
    alpha = torch.tensor([0.6])  # keeps 18 of 32 bins
    torch.testing.assert_close(gibbs_ringing(slow.contiguous(), alpha), slow, atol=1e-4, rtol=0)
    assert gibbs_ringing(fast.contiguous(), alpha).abs().max() < 1e-4


def test_refuses_more_than_all() -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        RandomGibbsRinging(p=0.5, alpha=(0.0, 1.1))
