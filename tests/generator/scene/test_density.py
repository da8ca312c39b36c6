"""Padding and squeezing against numpy's."""

import numpy as np
import pytest
import torch

from anystar_torch.generator.scene.density import RandomDensity, shrink
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.random.source import Source


def moved(factor: float, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    grid = Coordinates.of_grid((128, 8, 8), torch.full((1, 3), 128.0))
    out = shrink(grid, torch.tensor([[factor, 1.0, 1.0]]), torch.tensor([mirrored]), (128, 8, 8))
    return out.position[0, 0, :, 0, 0].numpy() + 63.5, out.piece[0, 0, :, 0, 0].numpy()


@pytest.mark.parametrize("pad", [0, 32, 64, 96])
def test_it_equals_padding_and_half_pixel_resizing(pad: int) -> None:
    padded = np.pad(np.arange(128), pad, mode="reflect")
    size = len(padded)
    place = (np.arange(128) + 0.5) * size / 128 - 0.5
    expected = np.interp(place, np.arange(size), padded)
    position, piece = moved(size / 128, True)
    assert position == pytest.approx(expected, abs=1e-3)
    assert len(np.unique(piece)) == (1 if pad == 0 else 3)
    beyond, piece = moved(size / 128, False)
    assert beyond == pytest.approx(place - pad, abs=1e-3)
    assert len(np.unique(piece)) == 1


def test_factors_are_drawn_evenly_and_axis_by_axis() -> None:
    density = RandomDensity(factors=[1.0, 2.0], mirrored=0.0)
    grid = Coordinates.of_grid((2, 2, 2), torch.full((4000, 3), 64.0))
    source = Source.of(torch.arange(4000), seed=0, split="test")
    corner = density(grid, (64, 64, 64), source).position[:, :, 0, 0, 0]
    doubled = corner == -1.0
    assert ((corner == -0.5) | doubled).all()
    assert doubled.float().mean(0).numpy() == pytest.approx(0.5, abs=0.03)
    assert (doubled.all(1).float().mean().item()) == pytest.approx(0.125, abs=0.03)
