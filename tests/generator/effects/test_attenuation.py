"""Attenuation against the exponential of the depth."""

import math

import pytest
import torch

from anystar_torch.generator.effects.attenuation import RandomAttenuation, attenuation
from anystar_torch.random.source import Source


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_far_face_keeps_a_tenth(axis: int, side: float) -> None:
    rate = torch.zeros(1, 3)
    rate[0, axis] = side * math.log(10.0)
    out = attenuation(torch.ones(1, 1, 8, 9, 10), rate)[0, 0].movedim(axis, 0)
    expected = torch.logspace(0.0, -1.0, len(out))
    expected = expected if side > 0 else expected.flip(0)
    torch.testing.assert_close(out, expected[:, None, None].expand_as(out))


def test_losses_cover_their_range_along_every_axis() -> None:
    effect = RandomAttenuation(p=1.0, loss=(0.0, 2.3))
    out = effect(torch.ones(2000, 1, 2, 2, 2), Source.of(torch.arange(2000), seed=0, split="test"))
    lost = -out.flatten(1).amin(1).log()
    assert lost.max() <= 2.3
    assert lost.mean().item() == pytest.approx(1.15, abs=0.05)
    along = [(out.amax(axes) - out.amin(axes) > 0).flatten(1).any(1) for axes in (2, 3, 4)]
    assert [part.float().mean().item() for part in along] == pytest.approx([1 / 3] * 3, abs=0.04)
