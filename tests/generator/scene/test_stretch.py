"""Stretched objects: lengths, volumes, and what stays as it was."""

import math

import pytest
import torch

from anystar_torch.generator.scene.stretch import RandomStretch, stretch
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.random.source import Source


def grid(batch: int, n: int = 33) -> Coordinates:
    return Coordinates.of_grid((n, n, n), torch.full((batch, 3), float(n)))


def unit(*direction: float) -> torch.Tensor:
    vector = torch.tensor([direction])
    return vector / vector.norm()


def test_factors_of_1_change_no_bit() -> None:
    one = torch.ones(1)
    assert torch.equal(stretch(grid(1), unit(1.0, 2.0, 3.0), one, one).position, grid(1).position)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, -2.0, 3.0)])
def test_a_ball_becomes_a_spheroid_of_the_given_axes(direction: tuple[float, ...]) -> None:
    along, across, radius = 2.0, 0.8, 6.0
    u = unit(*direction)
    out = stretch(grid(1), u, torch.tensor([along]), torch.tensor([across])).position
    inside = (out.square().sum(1) < radius**2)[0]
    points = grid(1).position[0][:, inside]
    length = (u[0] @ points).abs().max().item()
    width = (points - u[0][:, None] * (u[0] @ points)).norm(dim=0).max().item()
    assert length == pytest.approx(along * radius, abs=1.0)
    assert width == pytest.approx(across * radius, abs=1.0)
    assert inside.sum().item() == pytest.approx(4 / 3 * math.pi * radius**3 * along * across**2, rel=0.05)


def test_random_stretches_keep_volumes_and_have_every_direction() -> None:
    effect = RandomStretch(p=0.5, aspect=(0.5, 3.0))
    tiny = Coordinates.of_grid((2, 2, 2), torch.full((4000, 3), 2.0))
    source = Source.of(torch.arange(4000), seed=0, split="test")
    out = effect(tiny, source).position
    edges = torch.stack(
        [
            out[:, :, 1, 0, 0] - out[:, :, 0, 0, 0],
            out[:, :, 0, 1, 0] - out[:, :, 0, 0, 0],
            out[:, :, 0, 0, 1] - out[:, :, 0, 0, 0],
        ],
        dim=2,
    )
    assert torch.linalg.det(edges).numpy() == pytest.approx(1.0, abs=1e-4)
    values = torch.linalg.svdvals(edges)
    changed = source.coin("applied", 0.5)
    assert changed.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert (values[:, 0] / values[:, 2]).max() <= 3.001
    assert torch.equal(out[~changed], tiny.position[~changed])
    lengths = edges.norm(dim=1)[changed].mean(0)
    assert lengths.numpy() == pytest.approx(lengths.mean().item(), rel=0.03)


def test_chance_0_changes_nothing() -> None:
    coordinates = grid(2, 4)
    source = Source.of(torch.arange(2), seed=0, split="test")
    assert RandomStretch(p=0.0, aspect=(1.0, 2.0))(coordinates, source) is coordinates
