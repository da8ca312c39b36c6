"""Surfaces: distance of the surface of a ball from its centre, in each direction.

A surface is a function of the ball and of the direction only. Every ray from the centre therefore crosses it once, and
the objects are star-convex for any function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, per_voxel
from anystar_torch.generator.parameters import Range, check_range, check_whole
from anystar_torch.generator.scene.perlin import draw_gradients
from anystar_torch.kernels.balls import star_reach
from anystar_torch.kernels.lattice import gradient_noise, sample
from anystar_torch.random.source import Source

SAMPLES = 4
"""Samples of the gradient noise per lattice cell and axis. Between them it is interpolated linearly."""
NOISE = 0.194
"""Standard deviation of the gradient noise."""


@dataclass(frozen=True)
class BallCoordinates:
    """The nearest ball of each voxel, and the direction from its centre.

    Attributes:
        ball: ``[B, 1, D, H, W]``, number of the ball in its sample, from 0.
        centre: ``[B, 3, D, H, W]``, centre of the ball, voxels.
        radius: ``[B, 1, D, H, W]``, radius of the ball, voxels.
        direction: ``[B, 3, D, H, W]``, unit vector from the centre to the voxel.
        mean_radius: ``[B]``, mean radius of the sample's balls, voxels.
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
    """Distance of the surface from the centre of the ball, towards each voxel."""

    def __call__(
        self, nearest: BallCoordinates, scene_shape: Sequence[int], source: Source
    ) -> Float32[Tensor, "b 1 d h w"]:
        """Distances ``[B, 1, D, H, W]``, voxels.

        Args:
            nearest: the ball of each voxel.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RoughBall:
    """A ball with a rough surface (AnyStar): the radius less a noise that is a function of position.

    Difference to AnyStar, which takes the noise at the voxel: here it is taken where the ray from the centre through
    the voxel meets the ball. The roughness is the same, but every ray leaves the object once.

    Attributes:
        roughness: factor on the noise, in mean radii; the noise has a standard deviation of 0.19.
        cell: size of a lattice cell of the noise, voxels.
    """

    roughness: float
    cell: int

    def __post_init__(self) -> None:
        check_range("roughness", (0.0, self.roughness), 0.0, 2.0)
        check_whole("cell", self.cell, 2)

    def __call__(
        self, nearest: BallCoordinates, scene_shape: Sequence[int], source: Source
    ) -> Float32[Tensor, "b 1 d h w"]:
        """The radius minus the noise at the point of the ball towards each voxel, ``[B, 1, D, H, W]``, voxels."""
        corners = [-(-n // self.cell) + 1 for n in scene_shape]
        noise = gradient_noise(draw_gradients(source, corners[0], corners[1], corners[2]), SAMPLES)
        # The last sample is one step before the last corner.
        half = [((n - 1) * self.cell - self.cell / SAMPLES) / 2.0 for n in corners]
        point = torch.addcmul(nearest.centre, nearest.direction, nearest.radius)
        return nearest.radius - sample(
            noise * per_voxel(nearest.mean_radius * self.roughness), point, half, half
        )


@dataclass(frozen=True, kw_only=True)
class SmoothStar:
    """A spheroid whose radius varies smoothly with direction, with parameters for each ball. Not in AnyStar.

    The surface is ``radius * exp(deviation * n(direction)) / |A direction|``. n is a smooth noise of standard deviation
    1. A elongates along an axis of the ball and keeps its volume.

    Attributes:
        deviation: standard deviation of the logarithm of the radius.
        bumps: radius of the sphere of directions in the noise, in lattice cells; more gives more bumps.
        elongation: range of the length of a ball along its axis over its width; below 1 the ball is flat.
    """

    deviation: float
    bumps: float
    elongation: Range

    def __post_init__(self) -> None:
        check_range("deviation", (0.0, self.deviation), 0.0, 1.0)
        check_range("bumps", (0.0, self.bumps), 0.0, 3.0)
        check_range("elongation", self.elongation, 0.2, 5.0)

    def __call__(
        self, nearest: BallCoordinates, scene_shape: Sequence[int], source: Source
    ) -> Float32[Tensor, "b 1 d h w"]:
        """Distance of the spheroid's surface towards each voxel, ``[B, 1, D, H, W]``, voxels."""
        cells = 8
        noise = gradient_noise(draw_gradients(source("bumps"), cells + 1, cells + 1, cells + 1), SAMPLES)
        half = (cells - 1.0 / SAMPLES) / 2.0
        stars = self._stars(nearest, half - self.bumps, source)
        shape = half, self.bumps, self.deviation / NOISE
        return star_reach(nearest.ball, nearest.radius, nearest.direction, stars, noise, shape)

    def _stars(self, nearest: BallCoordinates, room: float, source: Source) -> Float32[Tensor, "b n 8"]:
        """Parameters of each ball's surface, ``[B, n, 8]``, see :func:`~anystar_torch.kernels.balls.star_reach`."""
        number = torch.arange(nearest.count, dtype=torch.int32, device=nearest.ball.device)
        number = number.expand(len(nearest.ball), -1)
        middle = [source.uniform_at(f"middle {axis}", number, -room, room) for axis in "zyx"]
        height = source.uniform_at("height", number, -1.0, 1.0)
        azimuth = source.uniform_at("azimuth", number, 0.0, 2.0 * torch.pi)
        ring = (1.0 - height * height).sqrt()
        log = source.uniform_at("elongation", number, self.elongation[0], self.elongation[1]).log()
        axis = [height, ring * azimuth.sin(), ring * azimuth.cos()]
        powers = [(log * (-4.0 / 3.0)).exp(), (log * (2.0 / 3.0)).exp()]
        return torch.stack(middle + axis + powers, dim=2)
