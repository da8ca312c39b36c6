"""How far a ball's surface lies from its centre in each direction: what makes objects more than balls.

A surface is a function of the ball and of the direction alone, so every ray from the centre crosses it once: the
objects are star-convex whatever the function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, per_voxel
from anystar_torch.generator.parameters import Range, check_range
from anystar_torch.generator.scene.perlin import draw_gradients, gradient_noise, sample
from anystar_torch.kernels.implementations import implementation
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
        return star_reach(aim, stars, noise, (half, self.bumps, self.deviation / NOISE))

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


def star_reach(
    aim: Aim,
    stars: Float32[Tensor, "b n 8"],
    noise: Float32[Tensor, "b 1 p q r"],
    shape: tuple[float, float, float],
) -> Float32[Tensor, "b 1 d h w"]:
    """How far the surface of each voxel's star lies from its centre, towards the voxel; voxels.

    ``radius * exp(strength * noise(middle + bumps * direction))`` times the radius of a spheroid of volume 1 over that
    of a ball, ``(c^2 e^(-4/3) + (1 - c^2) e^(2/3))^(-1/2)`` with c the cosine to its own axis and e its elongation.

    Args:
        aim: ball, radius and direction of every voxel.
        stars: ``[B, n, 8]``, for each ball the middle in the noise (z, y, x), the unit vector of its own axis
            (z, y, x), ``e^(-4/3)`` and ``e^(2/3)``.
        noise: ``[B, 1, p, q, r]``, outermost nodes at ``-half`` and ``half`` along each axis.
        shape: half; bumps, the radius of the sphere of directions in the noise; strength.
    """
    if implementation(aim.ball.device) == "torch":
        return _torch_star_reach(aim, stars, noise, shape)
    reach: Tensor = _star_reach(aim.ball, aim.radius, aim.direction, stars, noise, list(shape))
    return reach


def _torch_star_reach(
    aim: Aim,
    stars: Float32[Tensor, "b n 8"],
    noise: Float32[Tensor, "b 1 p q r"],
    shape: tuple[float, float, float],
) -> Float32[Tensor, "b 1 d h w"]:
    """:func:`star_reach` in plain operators."""
    half, bumps, strength = shape
    index = aim.ball.flatten(1).to(torch.int64)[:, None].expand(-1, 8, -1)
    own = stars.transpose(1, 2).gather(2, index).view(-1, 8, *aim.ball.shape[2:])
    bump = sample(noise, own[:, :3] + aim.direction * bumps, [half] * 3) * strength
    share = (own[:, 3:6] * aim.direction).sum(1, keepdim=True).square()
    stretched = share * own[:, 6:7] + (1.0 - share) * own[:, 7:8]
    return aim.radius * bump.exp() * stretched.rsqrt()


@torch.library.custom_op("anystar::star_reach", mutates_args=())
def _star_reach(
    ball: Tensor, radius: Tensor, direction: Tensor, stars: Tensor, noise: Tensor, shape: list[float]
) -> Tensor:
    voxels = [tensor.contiguous() for tensor in (ball, radius, direction)]
    stars, noise = stars.contiguous(), noise.contiguous()
    if implementation(ball.device) == "triton":
        from anystar_torch.kernels.triton import balls

        return balls.star_reach(voxels, stars, noise, shape)
    from anystar_torch.kernels import _native

    out = torch.empty(ball.shape)
    tensors = (voxels[0].flatten(1), voxels[1].flatten(1), voxels[2].flatten(2), stars, noise)
    arguments: list[Any] = [tensor.numpy() for tensor in tensors]
    arguments += [*shape, out.flatten(1).numpy(), torch.get_num_threads()]
    _native.star_reach(*arguments)
    return out


@_star_reach.register_fake
def _(
    ball: Tensor, radius: Tensor, direction: Tensor, stars: Tensor, noise: Tensor, shape: list[float]
) -> Tensor:
    return torch.empty_like(radius)
