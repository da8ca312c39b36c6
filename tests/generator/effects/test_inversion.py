"""Inverted contrast: its range, its order, and that twice is nothing."""

import torch

from anystar_torch.generator.effects.inversion import RandomInversion, invert
from anystar_torch.random.source import Source


def test_range_stays_order_turns_and_twice_is_the_identity() -> None:
    image = torch.rand(4, 1, 6, 7, 8, generator=torch.Generator().manual_seed(0)) * 5.0 - 2.0
    out = invert(image)
    torch.testing.assert_close(out.amin((1, 2, 3, 4)), image.amin((1, 2, 3, 4)))
    torch.testing.assert_close(out.amax((1, 2, 3, 4)), image.amax((1, 2, 3, 4)))
    for before, after in zip(image, out, strict=True):
        assert torch.equal(before.flatten().argsort(), after.flatten().argsort(descending=True))
    torch.testing.assert_close(invert(out), image, rtol=1e-5, atol=1e-5)


def test_chance() -> None:
    image = torch.rand(200, 1, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    out = RandomInversion(p=0.25)(image, Source.of(torch.arange(200), seed=0, split="test"))
    changed = (out != image).flatten(1).any(1).float().mean().item()
    assert 0.15 < changed < 0.35
