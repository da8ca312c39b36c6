"""How far a ball's surface lies from its centre in each direction: what makes objects more than balls.

A surface is a function of the ball and of the direction alone, so every ray from the centre crosses it once: the
objects are star-convex whatever the function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, per_voxel
from anystar_torch.generator.parameters import Range, check_range
from anystar_torch.generator.scene.perlin import draw_gradients
from anystar_torch.kernels.balls import star_reach
from anystar_torch.kernels.lattice import gradient_noise, sample
from anystar_torch.random.source import Source

SAMPLES = 4
"""Samples of the gradient noise per lattice cell and axis; between them it is interpolated linearly."""
NOISE = 0.194
"""The deviation of the gradient noise."""


@dataclass(frozen=True)
class Aim:
    """Which ball each voxel belongs to, and where on it.

    Attributes:
        ball: ``[B, 1, D, H, W]``, the ball's number in its sample.
        centre: ``[B, 3, D, H, W]``, voxels.
        radius: ``[B, 1, D, H, W]``, voxels.
        direction: ``[B, 3, D, H, W]``, unit vector from the centre to the voxel.
        mean_radius: ``[B]``, voxels.
        count: number of balls of a sample.
    """

    ball: Int32[Tensor, "b 1 d h w"]
    centre: Float32[Tensor, "b 3 d h w"]
    radius: Float32[Tensor, "b 1 d h w"]
    direction: Float32[Tensor, "b 3 d h w"]
    mean_radius: PerSample
    count: int


@runtime_checkable
class Surface(Protocol):
    """The distance of the surface from the centre, towards each voxel."""

    def __call__(self, aim: Aim, world: Sequence[int], source: Source) -> Float32[Tensor, "b 1 d h w"]:
        """``[B, 1, D, H, W]``, voxels, in a world of (Z, Y, X) voxels."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoughBall:
    """A ball with a rough surface (AnyStar): the radius less a noise that is a function of position.

    Deliberate difference: the original takes the noise at the voxel; here it is taken where the ray from the centre
    through the voxel meets the ball. The roughness is the same, but every ray leaves the object once.

    Attributes:
        roughness: factor on the noise, which has a deviation of 0.19, in mean radii.
        cell: size of the noise's lattice cell, voxels.
    """

    roughness: float
    cell: int

    def __post_init__(self) -> None:
        check_range("roughness", (0.0, self.roughness), 0.0, 2.0)
        check_range("cell", (float(self.cell), float(self.cell)), 2.0)

    def __call__(self, aim: Aim, world: Sequence[int], source: Source) -> Float32[Tensor, "b 1 d h w"]:
        """The radius less the noise at the point of the ball towards each voxel."""
        corners = [-(-n // self.cell) + 1 for n in world]
        noise = gradient_noise(draw_gradients(source, corners[0], corners[1], corners[2]), SAMPLES)
        # The last sample stands one step before the last corner.
        half = [((n - 1) * self.cell - self.cell / SAMPLES) / 2.0 for n in corners]
        point = torch.addcmul(aim.centre, aim.direction, aim.radius)
        return aim.radius - sample(noise * per_voxel(aim.mean_radius * self.roughness), point, half, half)


@dataclass(frozen=True, kw_only=True)
class SmoothStar:
    """A spheroid whose radius varies smoothly with direction, each ball's in its own way (beyond AnyStar).

    ``radius * exp(deviation * n(direction)) / |A direction|`` with n a smooth noise of deviation 1 and A a stretch by
    the elongation along an axis of the ball's own that keeps volumes.

    Attributes:
        deviation: of the logarithm of the radius.
        bumps: size of the sphere of directions in the noise, in lattice cells; larger is bumpier.
        elongation: range of the length of each ball's own axis over the others'; below 1 it is flattened.
    """

    deviation: float
    bumps: float
    elongation: Range

    def __post_init__(self) -> None:
        check_range("deviation", (0.0, self.deviation), 0.0, 1.0)
        check_range("bumps", (0.0, self.bumps), 0.0, 3.0)
        check_range("elongation", self.elongation, 0.2, 5.0)

    def __call__(self, aim: Aim, world: Sequence[int], source: Source) -> Float32[Tensor, "b 1 d h w"]:
        """The radius towards each voxel, by the ball's own spheroid and noise."""
        cells = 8
        noise = gradient_noise(draw_gradients(source("bumps"), cells + 1, cells + 1, cells + 1), SAMPLES)
        half = (cells - 1.0 / SAMPLES) / 2.0
        stars = self._stars(aim, half - self.bumps, source)
        shape = half, self.bumps, self.deviation / NOISE
        return star_reach(aim.ball, aim.radius, aim.direction, stars, noise, shape)

    def _stars(self, aim: Aim, room: float, source: Source) -> Float32[Tensor, "b n 8"]:
        """What makes each ball's star, see :func:`star_reach`; drawn per ball, not per voxel."""
        number = torch.arange(aim.count, dtype=torch.int32, device=aim.ball.device)
        number = number.expand(len(aim.ball), -1)
        middle = [source.uniform_at(f"middle {axis}", number, -room, room) for axis in "zyx"]
        height = source.uniform_at("height", number, -1.0, 1.0)
        azimuth = source.uniform_at("azimuth", number, 0.0, 2.0 * torch.pi)
        ring = (1.0 - height * height).sqrt()
        log = source.uniform_at("elongation", number, self.elongation[0], self.elongation[1]).log()
        axis = [height, ring * azimuth.sin(), ring * azimuth.cos()]
        powers = [(log * (-4.0 / 3.0)).exp(), (log * (2.0 / 3.0)).exp()]
        return torch.stack(middle + axis + powers, dim=2)
