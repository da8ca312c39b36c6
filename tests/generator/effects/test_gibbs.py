"""Gibbs ringing against MONAI, and the frequencies it must leave and remove."""

import pytest
import torch
from monai.transforms import GibbsNoise

from anystar_torch.generator.effects.gibbs import RandomGibbsRinging, gibbs_ringing


@pytest.mark.parametrize("shape", [(12, 16, 14), (9, 11, 13)])
def test_equals_monai_sample_by_sample(shape: tuple[int, int, int]) -> None:
    image = torch.rand(5, 1, *shape, generator=torch.Generator().manual_seed(0))
    alpha = torch.tensor([0.01, 0.29, 0.4, 0.6, 0.95])
    out = gibbs_ringing(image, alpha, torch.ones(5, 3))
    for n in range(5):
        expected = torch.as_tensor(GibbsNoise(alpha=float(alpha[n]))(image[n]))
        torch.testing.assert_close(out[n], expected, atol=1e-4, rtol=0)


def test_waves_beyond_the_ball_vanish_and_inside_it_stay() -> None:
    x = torch.arange(64) * (2 * torch.pi / 64)
    slow, fast = (torch.cos(f * x).expand(1, 1, 4, 4, 64) for f in (10, 28))
    alpha = torch.tensor([0.6])  # keeps 18 of 32 bins
    torch.testing.assert_close(
        gibbs_ringing(slow.contiguous(), alpha, torch.ones(1, 3)), slow, atol=1e-4, rtol=0
    )
    assert gibbs_ringing(fast.contiguous(), alpha, torch.ones(1, 3)).abs().max() < 1e-4


def test_a_longer_recording_cuts_the_spectrum_of_its_own_size() -> None:
    """In cycles per voxel, the cut of a sample recorded twice as long along x is that of the doubled volume."""
    x = torch.arange(64) * (2 * torch.pi / 64)
    for along_x, frequency, stays in ((True, 25, False), (True, 12, True), (False, 25, True)):
        wave = torch.cos(frequency * x)
        image = (wave if along_x else wave[:, None]).expand(1, 1, 4, 64, 64).contiguous()
        recorded = torch.tensor([[1.0, 1.0, 2.0]])
        out = gibbs_ringing(
            image, torch.tensor([0.5]), recorded
        )  # 0.354 cycles per voxel along x, 0.707 along y
        doubled = torch.cat([image, image], dim=4)
        expected = torch.as_tensor(GibbsNoise(alpha=0.5)(doubled[0]))[..., :64]
        torch.testing.assert_close(out[0], expected, atol=2e-3, rtol=0)
        torch.testing.assert_close(out, image if stays else torch.zeros_like(image), atol=2e-3, rtol=0)


def test_refuses_more_than_all() -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        RandomGibbsRinging(p=0.5, alpha=(0.0, 1.1), recorded=(1.0, 2.0))
