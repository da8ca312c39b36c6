"""Stretched objects: lengths, volumes, and what stays as it was."""

import math

import pytest
import torch

from anystar_torch.generator.scene.stretch import RandomStretch, direction_of_z, stretch
from anystar_torch.generator.spatial.coordinates import Coordinates, Step
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


def edges(coordinates: Coordinates) -> torch.Tensor:
    """The vectors in the scene between neighbours along z, y and x, the columns of ``[B, 3, 3]``."""
    first, *others = (
        coordinates.position[:, :, z, y, x] for z, y, x in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    )
    return torch.stack([other - first for other in others], dim=2)


def many() -> tuple[Coordinates, torch.Tensor, Source]:
    """4000 tiny samples, the direction of their z axis, and draws."""
    tiny = Coordinates.of_grid((2, 2, 2), torch.full((4000, 3), 2.0))
    return tiny, torch.eye(3)[:1].expand(4000, 3), Source.of(torch.arange(4000), seed=0, split="test")


def test_random_stretches_keep_volumes_and_have_every_direction() -> None:
    tiny, z, source = many()
    out = RandomStretch(p=0.5, aspect=(0.5, 3.0))(tiny, z, source)
    assert torch.linalg.det(edges(out)).numpy() == pytest.approx(1.0, abs=1e-4)
    values = torch.linalg.svdvals(edges(out))
    changed = source.coin("applied", 0.5)
    assert changed.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert (values[:, 0] / values[:, 2]).max() <= 3.001
    assert torch.equal(out.position[~changed], tiny.position[~changed])
    lengths = edges(out).norm(dim=1)[changed].mean(0)
    assert lengths.numpy() == pytest.approx(lengths.mean().item(), rel=0.03)


def test_a_share_of_the_samples_is_stretched_along_their_z_axis() -> None:
    tiny, _, source = many()
    turned = tiny.then(Step(torch.eye(3).flip(0).expand(4000, 3, 3)))  # z of a sample is x of the scene
    z = direction_of_z(turned)
    before, after = (
        edges(c) for c in (turned, RandomStretch(p=1.0, aspect=(0.4, 2.5), along_z=0.6)(turned, z, source))
    )
    factors = after.norm(dim=1) / before.norm(dim=1)
    upright = (factors[:, 1] - factors[:, 2]).abs() < 1e-4  # along y and x the same factor
    assert upright.float().mean().item() == pytest.approx(0.6, abs=0.04)
    aspect = (factors[:, 1] / factors[:, 0])[upright]
    assert 0.4 <= aspect.min() < 0.45
    assert 2.3 < aspect.max() <= 2.501
    assert aspect.log().mean().item() == pytest.approx(0.0, abs=0.05)


def test_the_direction_of_z_is_the_samples() -> None:
    coordinates = Coordinates.of_grid((16, 8, 8), torch.full((1, 3), 16.0))
    assert torch.equal(direction_of_z(coordinates), torch.tensor([[1.0, 0.0, 0.0]]))
    turned = coordinates.then(Step(torch.eye(3).flip(0)[None] * 0.7))
    assert torch.allclose(direction_of_z(turned), torch.tensor([[0.0, 0.0, 1.0]]))


def test_chance_0_changes_nothing() -> None:
    coordinates = grid(2, 4)
    source = Source.of(torch.arange(2), seed=0, split="test")
    z = torch.eye(3)[:1].expand(2, 3)
    assert RandomStretch(p=0.0, aspect=(1.0, 2.0))(coordinates, z, source) is coordinates
