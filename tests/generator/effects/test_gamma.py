"""Contrast against MONAI."""

import pytest
import torch
from monai.transforms import AdjustContrast

from anystar_torch.generator.effects.gamma import RandomContrast, adjust_contrast


def test_equals_monai_sample_by_sample() -> None:
    image = torch.rand(5, 1, 7, 8, 9, generator=torch.Generator().manual_seed(0)) * 3.0 - 1.0
    gamma = torch.tensor([0.5, 0.9, 1.0, 2.0, 4.5])
    out = adjust_contrast(image, gamma, torch.zeros(5))
    for n in range(5):
        expected = AdjustContrast(gamma=float(gamma[n]))(image[n])
        torch.testing.assert_close(out[n], torch.as_tensor(expected), atol=1e-4, rtol=0)


def test_headroom_is_what_a_larger_volume_has_outside() -> None:
    image = torch.rand(3, 1, 7, 8, 9, generator=torch.Generator().manual_seed(2)) * 3.0 - 1.0
    gamma, headroom = torch.tensor([0.5, 2.0, 4.5]), torch.tensor([0.0, 0.4, 1.5])
    out = adjust_contrast(image, gamma, headroom)
    for n in range(3):
        low, high = image[n].amin(), image[n].amax()
        outside = (high + headroom[n] * (high - low)).expand(1, 1, 8, 9)
        expected = torch.as_tensor(
            AdjustContrast(gamma=float(gamma[n]))(torch.cat([image[n], outside], dim=1))
        )
        torch.testing.assert_close(out[n], expected[:, :-1], atol=1e-4, rtol=0)


def test_keeps_each_samples_range_and_order() -> None:
    image = torch.rand(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [1.0, 50.0]
    ).view(2, 1, 1, 1, 1)
    out = adjust_contrast(image, torch.tensor([0.5, 3.0]), torch.zeros(2))
    torch.testing.assert_close(out.flatten(1).amin(1), image.flatten(1).amin(1))
    torch.testing.assert_close(out.flatten(1).amax(1), image.flatten(1).amax(1))
    order = image[1].flatten().argsort()
    assert (out[1].flatten()[order].diff() >= 0).all()


def test_refuses_a_gamma_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match="gamma must be"):
        RandomContrast(p=0.5, gamma=(0.0, 2.0), headroom=(0.0, 1.0))
