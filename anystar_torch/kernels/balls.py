"""Kernels of the label field: the nearest ball of each voxel, and the distance of its surface from its centre.

C++: ``csrc/balls.hpp``. Triton: ``triton/balls.py``. The functions ``torch_*`` are the references.
C++ and Triton choose the same balls and agree to 1e-6; the references agree to 1e-5, and choose another ball only where
two are equally near to rounding.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.lattice import Positions, sample, shifted

Centres = Float32[Tensor, "b 3 n m k"]
Radii = Float32[Tensor, "b n m k"]


class OnBall(NamedTuple):
    """Each voxel's nearest ball, and its place on it.

    Attributes:
        ball: ``[B, 1, D, H, W]``, index of the ball in its sample, in the order of the flattened lattice.
        centre: ``[B, 3, D, H, W]``, centre of the ball, voxels.
        radius: ``[B, 1, D, H, W]``, radius of the ball, voxels.
        direction: ``[B, 3, D, H, W]``, unit vector from the centre to the voxel.
        distance: ``[B, 1, D, H, W]``, distance of the voxel from the centre, voxels.
    """

    ball: Int32[Tensor, "b 1 d h w"]
    centre: Float32[Tensor, "b 3 d h w"]
    radius: Float32[Tensor, "b 1 d h w"]
    direction: Float32[Tensor, "b 3 d h w"]
    distance: Float32[Tensor, "b 1 d h w"]


def aim_at_balls(
    centre: Centres, radius: Radii, pitch: Float32[Tensor, " b"], position: Positions, origin: Sequence[float]
) -> OnBall:
    """The ball with the smallest ``distance - radius`` among the 8 of the lattice cell that holds the voxel.

    Args:
        centre: ``[B, 3, n, m, k]``, voxels; lattice point (i, j, k) stands at ``pitch`` times (i, j, k).
        radius: ``[B, n, m, k]``, voxels; far below 0 where no ball is.
        pitch: ``[B]``, voxels between lattice points.
        position: ``[B, 3, D, H, W]``, voxels.
        origin: (z, y, x), place of position 0 among the balls, voxels.
    """
    if implementation(position.device) == "torch":
        return torch_aim_at_balls(centre, radius, pitch, shifted(position, origin))
    return OnBall(*_aim_at_balls(centre, radius, pitch, position, list(origin)))


@torch.library.custom_op("anystar::aim_at_balls", mutates_args=())
def _aim_at_balls(
    centre: Tensor, radius: Tensor, pitch: Tensor, position: Tensor, origin: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = centre.contiguous(), radius.contiguous(), pitch.contiguous(), position.contiguous()
    if implementation(position.device) == "triton":
        from anystar_torch.kernels.triton import balls

        return balls.aim(*given, origin)
    from anystar_torch.kernels import _native

    out = _empty_on_ball(position)
    arguments: list[Any] = [tensor.numpy() for tensor in (*given[:3], given[3].flatten(2))]
    arguments.append(origin)
    arguments += [tensor.flatten(2 if tensor.shape[1] == 3 else 1).numpy() for tensor in out]
    arguments.append(torch.get_num_threads())
    _native.aim_at_balls(*arguments)
    return out


@_aim_at_balls.register_fake
def _(
    centre: Tensor, radius: Tensor, pitch: Tensor, position: Tensor, origin: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _empty_on_ball(position)


def _empty_on_ball(position: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Memory for the tensors of :class:`OnBall`."""
    one, three = (position.shape[0], 1, *position.shape[2:]), position.shape
    return (
        position.new_empty(one, dtype=torch.int32),
        position.new_empty(three),
        position.new_empty(one),
        position.new_empty(three),
        position.new_empty(one),
    )


def torch_aim_at_balls(
    centre: Centres, radius: Radii, pitch: Float32[Tensor, " b"], position: Positions
) -> OnBall:
    """The reference of :func:`aim_at_balls`, at positions among the balls.

    Args:
        centre: ``[B, 3, n, m, k]``, voxels.
        radius: ``[B, n, m, k]``, voxels; far below 0 where no ball is.
        pitch: ``[B]``, voxels between lattice points.
        position: ``[B, 3, D, H, W]``, voxels, counted from lattice point (0, 0, 0).
    """
    nearest = nearest_ball(centre, radius, pitch, position)
    centres = torch.stack([_lookup(column.reshape(-1), nearest) for column in centre.unbind(1)], dim=1)
    radii = _lookup(radius.reshape(-1), nearest)[:, None]
    ray = position - centres
    z, y, x = ray.unbind(1)
    distance = (z * z + y * y + x * x).sqrt()[:, None]
    first = torch.arange(len(nearest), dtype=torch.int32, device=nearest.device) * radius.shape[1:].numel()
    ball = nearest - first[:, None, None, None]
    return OnBall(ball[:, None], centres, radii, ray / (distance + 1e-6), distance)


def nearest_ball(
    centre: Centres, radius: Radii, pitch: Float32[Tensor, " b"], position: Positions
) -> Int32[Tensor, "b d h w"]:
    """Index of each voxel's nearest ball among the flattened balls of the whole batch; for the reference.

    Args:
        centre: ``[B, 3, n, m, k]``, voxels.
        radius: ``[B, n, m, k]``, voxels.
        pitch: ``[B]``, voxels.
        position: ``[B, 3, D, H, W]``, voxels.
    """
    batch, *lattice = radius.shape
    stride = (lattice[1] * lattice[2], lattice[2], 1)
    scale = (1.0 / pitch)[:, None, None, None]
    first = torch.arange(batch, dtype=torch.int32, device=position.device) * (lattice[0] * stride[0])
    start: Tensor = first[:, None, None, None]
    for axis in range(3):
        cell = (position[:, axis] * scale).floor_().clamp_(0.0, lattice[axis] - 2.0)
        start = start + cell.to(torch.int32).mul_(stride[axis])
    start = start.reshape(-1)
    tables = [column.reshape(-1) for column in (*centre.unbind(1), radius)]
    place = [position[:, axis].reshape(-1) for axis in range(3)]
    best, winner = _excess(tables, start, place), start
    for dz, dy, dx in list(product((0, 1), repeat=3))[1:]:
        index = start + (dz * stride[0] + dy * stride[1] + dx)
        excess = _excess(tables, index, place)
        winner = torch.where(excess < best, index, winner)
        best = torch.minimum(best, excess)
    return winner.view(position[:, 0].shape)


def _excess(tables: list[Tensor], index: Tensor, place: list[Tensor]) -> Tensor:
    """Distance from the surface of a ball, negative inside; in place, as this is the innermost loop."""
    z, y, x, radius = (table.index_select(0, index) for table in tables)
    total = z.sub_(place[0]).square_()
    total.add_(y.sub_(place[1]).square_()).add_(x.sub_(place[2]).square_())
    return total.sqrt_().sub_(radius)


def _lookup(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` for a flat table; index_select is the fastest gather on every device."""
    return table.index_select(0, index.reshape(-1)).view(index.shape)


def star_reach(
    ball: Int32[Tensor, "b 1 d h w"],
    radius: Float32[Tensor, "b 1 d h w"],
    direction: Float32[Tensor, "b 3 d h w"],
    stars: Float32[Tensor, "b n 8"],
    noise: Float32[Tensor, "b 1 p q r"],
    shape: tuple[float, float, float],
) -> Float32[Tensor, "b 1 d h w"]:
    """Distance of the surface of each voxel's smooth star from its centre, towards the voxel, in voxels.

    ``radius * exp(strength * noise(middle + bumps * direction))`` times the radius of a spheroid of volume 1 over that
    of a ball, ``(c^2 e^(-4/3) + (1 - c^2) e^(2/3))^(-1/2)``. Here c is the cosine to the star's own axis, and e is its
    elongation.

    Args:
        ball: ``[B, 1, D, H, W]``, index of each voxel's ball in its sample.
        radius: ``[B, 1, D, H, W]``, radius of that ball, voxels.
        direction: ``[B, 3, D, H, W]``, unit vector from its centre to the voxel.
        stars: ``[B, n, 8]``, for each ball the middle in the noise (z, y, x), the unit vector of its own axis
            (z, y, x), ``e^(-4/3)`` and ``e^(2/3)``.
        noise: ``[B, 1, p, q, r]``; the outermost nodes lie at ``-half`` and ``half`` along each axis.
        shape: half; bumps, the radius of the sphere of directions in the noise; strength.
    """
    if implementation(stars.device) == "torch":
        return torch_star_reach(ball, radius, direction, stars, noise, shape)
    reach: Tensor = _star_reach(ball, radius, direction, stars, noise, list(shape))
    return reach


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

    out = torch.empty(ball.shape, dtype=torch.float32)
    tensors = (voxels[0].flatten(1), voxels[1].flatten(1), voxels[2].flatten(2), stars, noise)
    arguments: list[Any] = [tensor.numpy() for tensor in tensors]
    arguments += [*shape, out.flatten(1).numpy(), torch.get_num_threads()]
    _native.star_reach(*arguments)
    return out


@_star_reach.register_fake
def _(
    ball: Tensor, radius: Tensor, direction: Tensor, stars: Tensor, noise: Tensor, shape: list[float]
) -> Tensor:
    return radius.new_empty(ball.shape)


def torch_star_reach(
    ball: Int32[Tensor, "b 1 d h w"],
    radius: Float32[Tensor, "b 1 d h w"],
    direction: Float32[Tensor, "b 3 d h w"],
    stars: Float32[Tensor, "b n 8"],
    noise: Float32[Tensor, "b 1 p q r"],
    shape: tuple[float, float, float],
) -> Float32[Tensor, "b 1 d h w"]:
    """The reference of :func:`star_reach`.

    Arguments are those of :func:`star_reach`.
    """
    half, bumps, strength = shape
    index = ball.flatten(1).to(torch.int64)[:, None].expand(-1, 8, -1)
    own = stars.transpose(1, 2).gather(2, index).view(-1, 8, *ball.shape[2:])
    bump = sample(noise, own[:, :3] + direction * bumps, [half] * 3) * strength
    share = (own[:, 3:6] * direction).sum(1, keepdim=True).square()
    stretched = share * own[:, 6:7] + (1.0 - share) * own[:, 7:8]
    return radius * bump.exp() * stretched.rsqrt()
