"""Sharpening against MONAI."""

import pytest
import torch
from monai.transforms import GaussianSharpen

from anystar_torch.generator.effects.sharpen import RandomSharpen, sharpen
from anystar_torch.random.source import Source


def test_equals_monai_sample_by_sample_away_from_the_faces() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(5, 1, 20, 21, 22, generator=generator)
    first = 0.5 + 0.5 * torch.rand(5, 3, generator=generator)
    second = 0.5 + (first - 0.5) * torch.rand(5, 3, generator=generator)
    strength = torch.tensor([10.0, 15.0, 20.0, 25.0, 30.0])
    out = sharpen(image, first, second, strength, taps=4)
    for n in range(5):
        monai = GaussianSharpen(first[n].tolist(), second[n].tolist(), float(strength[n]), approx="erf")
        expected = torch.as_tensor(monai(image[n]))
        middle = (slice(None), *[slice(8, -8)] * 3)  # MONAI's is 0 beyond the faces
        torch.testing.assert_close(out[n][middle], expected[middle], atol=1e-4, rtol=0)


def test_a_constant_stays_constant_up_to_its_faces() -> None:
    flat = torch.full((1, 1, 8, 8, 8), 0.6)
    out = sharpen(flat, torch.full((1, 3), 0.8), torch.full((1, 3), 0.6), torch.tensor([30.0]), taps=4)
    assert out.amax() - out.amin() < 1e-4
    assert out.mean().item() == pytest.approx(0.6, abs=0.01)  # the kernels' missing tails, 30 times


def test_second_blur_is_never_wider_than_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "anystar_torch.generator.effects.sharpen.sharpen", lambda *a, **k: seen.append(a) or a[0]
    )
    effect = RandomSharpen(p=1.0, first=(0.5, 1.0), second=0.5, strength=(10.0, 30.0))
    effect(torch.rand(200, 1, 4, 4, 4), Source.of(torch.arange(200), seed=0, split="test"))
    _, first, second, strength = seen[0]
    assert (second <= first).all()
    assert second.min() >= 0.5
    assert 10 <= strength.min() < 11
    assert 29 < strength.max() <= 30


def test_refuses_a_second_blur_wider_than_the_first() -> None:
    with pytest.raises(ValueError, match="second must be"):
        RandomSharpen(p=0.5, first=(0.5, 1.0), second=0.7, strength=(10.0, 30.0))
