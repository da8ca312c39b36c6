"""Counts against scipy's Poisson distribution, and the noise of a camera against theory."""

import numpy as np
import pytest
import torch
from scipy import stats

from anystar_torch.generator.effects.camera import RandomCamera, camera
from anystar_torch.kernels.noise import torch_poisson
from anystar_torch.random.source import Source

COUNT = 200_000


@pytest.fixture(scope="module")
def field() -> torch.Tensor:
    """Every quantile of the normal distribution once: counts have their law's moments without sampling error."""
    quantiles = stats.norm.ppf((np.arange(COUNT) + 0.5) / COUNT)
    return torch.tensor(quantiles, dtype=torch.float32).view(1, 1, 1, 1, COUNT)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 2.0, 3.99, 4.0, 4.5, 9.0, 20.0, 150.0, 5000.0])
def test_counts_follow_poissons_law(rate: float, field: torch.Tensor) -> None:
    counts = torch_poisson(torch.full_like(field, rate), field).flatten().double().numpy()
    assert (counts == np.round(counts)).all()
    assert (counts >= 0).all()
    low, high = stats.poisson.ppf([1e-4, 1 - 1e-4], rate) if rate else (0, 0)
    grid = np.arange(low, high + 1)
    ours = np.searchsorted(np.sort(counts), grid, side="right") / COUNT
    assert np.abs(ours - stats.poisson.cdf(grid, rate)).max() < 0.001
    assert counts.mean() == pytest.approx(rate, rel=1e-3)
    assert counts.var() == pytest.approx(rate, rel=3e-3)


def test_more_light_gives_more_counts_from_the_same_field() -> None:
    rate = torch.linspace(0.01, 40.0, 5000).view(1, 1, 1, 1, 5000)
    for quantile in (-3.0, -1.0, 0.0, 1.0, 3.0):
        counts = torch_poisson(rate, torch.full_like(rate, quantile))[0, 0, 0, 0]
        expected = stats.poisson.ppf(stats.norm.cdf(quantile), rate[0, 0, 0, 0].numpy())
        assert (counts.diff() >= -1.0).all()
        assert np.abs(counts.numpy() - expected).max() <= 1.0


@pytest.mark.parametrize(
    ("photons", "background", "read"), [(5.0, 0.0, 0.0), (80.0, 6.0, 1.5), (4000.0, 20.0, 2.5)]
)
def test_camera_has_the_noise_of_its_photons(photons: float, background: float, read: float) -> None:
    image = torch.full((3, 1, 20, 40, 40), 0.25)
    image[:, :, :, 20:] = 1.0
    image[:, :, 0] = 0.0
    source = Source.of(torch.arange(3), seed=1, split="test")
    shot, electronic = source.normal("field", 2, 1, 20, 40, 40).unbind(1)
    full = torch.ones(3)
    out = camera(image, full * photons, full * background, full * read, shot, electronic)
    for level, part in ((0.25, out[:, :, 1:, :20]), (1.0, out[:, :, 1:, 20:])):
        variance = (photons * level + background + read**2) / photons**2
        assert part.mean().item() == pytest.approx(level, abs=5 * np.sqrt(variance / part.numel()) + 1e-3)
        assert part.var().item() == pytest.approx(variance, rel=0.03)


def test_photons_are_spread_evenly_over_their_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("anystar_torch.generator.effects.camera.camera", lambda *a: seen.append(a) or a[0])
    effect = RandomCamera(p=1.0, photons=(5.0, 5000.0), background=(0.0, 10.0), read=(0.5, 3.0))
    effect(torch.rand(600, 1, 4, 4, 4), Source.of(torch.arange(600), seed=0, split="test"))
    logarithm = np.log(seen[0][1].numpy())
    assert stats.kstest(logarithm, stats.uniform(np.log(5), np.log(1000)).cdf).pvalue > 1e-3


def test_refuses_less_than_a_photon() -> None:
    with pytest.raises(ValueError, match="photons must be"):
        RandomCamera(p=0.5, photons=(0.5, 10.0), background=(0.0, 1.0), read=(0.0, 1.0))
