"""Noise against MONAI and scikit-image given the same fields, and its moments."""

import math

import numpy as np
import pytest
import torch
from monai.transforms import RandRicianNoise
from skimage.util import random_noise

from anystar_torch.generator.effects.noise import (
    RandomDetectorNoise,
    RandomGaussianNoise,
    detector_noise,
    gaussian_noise,
    rician_noise,
)
from anystar_torch.random.source import Source

SHAPE = (16, 18, 20)


def fields(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))


def flat(value: float, batch: int = 4) -> torch.Tensor:
    return torch.full((batch, 1, *SHAPE), value)


def test_gaussian_has_the_width_it_names_whatever_the_image() -> None:
    std = torch.tensor([0.0, 0.01, 0.1, 1.0])
    out = gaussian_noise(flat(2.0), std, fields(1)[0])
    torch.testing.assert_close(out.flatten(1).std(1), std, rtol=0.03, atol=1e-6)
    torch.testing.assert_close(out.flatten(1).mean(1), torch.full((4,), 2.0), rtol=0, atol=0.05)


def test_rician_equals_monai_for_its_own_draws() -> None:
    image = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(2)) - 0.3
    monai = RandRicianNoise(prob=1.0, mean=0.0, std=0.3, sample_std=False).set_random_state(3)
    expected = torch.as_tensor(monai(image))
    noise = [
        torch.tensor(getattr(monai, name) / 0.3, dtype=torch.float32)[None] for name in ("_noise1", "_noise2")
    ]
    out = rician_noise(image[None], torch.tensor([0.3]), *noise)
    torch.testing.assert_close(out[0], expected, atol=1e-4, rtol=0)


def test_rician_of_nothing_is_rayleigh() -> None:
    out = rician_noise(flat(0.0), torch.full((4,), 0.2), *fields(2))
    assert out.mean().item() == pytest.approx(0.2 * math.sqrt(math.pi / 2), rel=0.02)
    assert (out >= 0).all()


@pytest.mark.parametrize(("mode", "additive", "speckle"), [("gaussian", 0.1, 0.0), ("speckle", 0.0, 0.1)])
def test_detector_noise_equals_scikit_image_for_its_own_draws(
    mode: str, additive: float, speckle: float
) -> None:
    image = np.random.default_rng(0).uniform(-0.2, 1.0, SHAPE).clip(0).astype(np.float32)
    field = np.random.default_rng(7).normal(0.0, 1.0, SHAPE)
    expected = random_noise(image, mode=mode, var=0.01, rng=np.random.default_rng(7)) * (image > 0)
    out = detector_noise(
        torch.tensor(image)[None, None],
        torch.tensor([additive]),
        torch.tensor([speckle]),
        torch.zeros(1),
        torch.tensor(field, dtype=torch.float32)[None, None],
    )
    np.testing.assert_allclose(out[0, 0], expected, atol=1e-4)
    assert (out[0, 0].numpy()[image == 0] == 0).all()


def test_shot_noise_has_the_variance_of_photon_counts() -> None:
    image = flat(0.4)
    out = detector_noise(image, torch.zeros(4), torch.zeros(4), torch.full((4,), 1 / 500), fields(1)[0])
    assert out.var().item() == pytest.approx(0.4 / 500, rel=0.03)


def test_detector_noise_draws_each_kind_as_often() -> None:
    source = Source.of(torch.arange(300), seed=0, split="test")
    image = torch.full((300, 1, 8, 8, 8), 0.5)
    out = RandomDetectorNoise(p=1.0, std=0.1, speckle=0.1, photons=2.0**18)(image, source)
    width = (out - image).flatten(1).std(1)
    counts = [
        int(((low < width) & (width < high)).sum()) for low, high in ((0.08, 0.2), (0.03, 0.07), (0, 0.01))
    ]
    assert sum(counts) == 300
    assert min(counts) > 75


def test_widths_cover_their_range() -> None:
    effect = RandomGaussianNoise(p=1.0, std=(0.02, 0.1))
    out = effect(torch.zeros(200, 1, 8, 8, 8), Source.of(torch.arange(200), seed=1, split="test"))
    width = out.flatten(1).std(1)
    assert 0.015 < width.min() < 0.03
    assert 0.09 < width.max() < 0.115
    assert width.mean().item() == pytest.approx(0.06, abs=0.006)


def test_refuses_a_negative_width() -> None:
    with pytest.raises(ValueError, match="std must be"):
        RandomGaussianNoise(p=0.5, std=(-0.1, 0.1))
