"""The nearest ball of each voxel, and the distance of its surface from its centre, on a GPU (``csrc/balls.hpp``)."""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor, empty, empty_like, float32, int32

from anystar_torch.kernels.triton.lanes import lanes, vector_at, voxels_of_program
from anystar_torch.kernels.triton.lattice import cell, fitted, interpolated
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = lanes(256, 1 << 15)
STAR = 8
"""Numbers that describe a smooth star: middle in the noise (z, y, x), own axis (z, y, x), two factors."""


@triton.jit
def _lattice_cell(position, scale, size):
    """The lattice point at or below a position, so that there is one above."""
    return tl.minimum(tl.maximum(position * scale, 0.0), size - 2.0).to(tl.int32)


@triton.jit
def _length(z, y, x):
    """Correctly rounded root, so that ties fall as on the CPU."""
    return tl.sqrt_rn(z * z + y * y + x * x)


@triton.jit
def _aim(
    centres,
    radii,
    pitches,
    positions,
    ball_out,
    centre_out,
    radius_out,
    direction_out,
    distance_out,
    count,
    n,
    m,
    k,
    origin_z,
    origin_y,
    origin_x,
    BLOCK: tl.constexpr,
):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    z, y, x = vector_at(positions, row, count, index, inside)
    z, y, x = z + origin_z, y + origin_y, x + origin_x
    scale = tl.div_rn(1.0, tl.load(pitches + row))
    start = _lattice_cell(z, scale, n) * m + _lattice_cell(y, scale, m)
    start = start * k + _lattice_cell(x, scale, k)
    nodes = n * m * k
    centre = centres + row * 3 * nodes
    radius = radii + row * nodes
    best = tl.full([BLOCK], 3e38, tl.float32)
    winner = start
    for corner in tl.static_range(8):
        number = start + (corner // 4 * m + corner // 2 % 2) * k + corner % 2
        dz = tl.load(centre + number) - z
        dy = tl.load(centre + nodes + number) - y
        dx = tl.load(centre + nodes + nodes + number) - x
        excess = _length(dz, dy, dx) - tl.load(radius + number)
        winner = tl.where(excess < best, number, winner)
        best = tl.minimum(excess, best)
    cz = tl.load(centre + winner)
    cy = tl.load(centre + nodes + winner)
    cx = tl.load(centre + nodes + nodes + winner)
    distance = _length(z - cz, y - cy, x - cx)
    inverse = tl.div_rn(1.0, distance + 1e-6)
    tl.store(ball_out + place, winner, mask=inside)
    tl.store(radius_out + place, tl.load(radius + winner), mask=inside)
    tl.store(distance_out + place, distance, mask=inside)
    three = row * 3 * count + index
    tl.store(centre_out + three, cz, mask=inside)
    tl.store(centre_out + three + count, cy, mask=inside)
    tl.store(centre_out + three + count + count, cx, mask=inside)
    tl.store(direction_out + three, (z - cz) * inverse, mask=inside)
    tl.store(direction_out + three + count, (y - cy) * inverse, mask=inside)
    tl.store(direction_out + three + count + count, (x - cx) * inverse, mask=inside)


@triton.jit
def _star_reach(
    balls,
    radii,
    directions,
    stars,
    noise,
    out,
    count,
    total,
    n,
    m,
    k,
    factor_z,
    factor_y,
    factor_x,
    offset_z,
    offset_y,
    offset_x,
    bumps,
    strength,
    STAR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    z, y, x = vector_at(directions, row, count, index, inside)
    number = tl.load(balls + place, mask=inside, other=0)
    star = stars + (row * total + tl.minimum(tl.maximum(number, 0), total - 1)) * STAR
    z0, dz, fz = cell(tl.load(star) + z * bumps, n, factor_z, offset_z)
    y0, dy, fy = cell(tl.load(star + 1) + y * bumps, m, factor_y, offset_y)
    x0, dx, fx = cell(tl.load(star + 2) + x * bumps, k, factor_x, offset_x)
    field = noise + row * n * m * k
    bump = interpolated(field, (z0 * m + y0) * k + x0, dz * m * k, dy * k, dx, fz, fy, fx)
    cosine = tl.load(star + 3) * z + (tl.load(star + 4) * y + tl.load(star + 5) * x)
    share = cosine * cosine
    stretched = share * tl.load(star + 6) + (1.0 - share) * tl.load(star + 7)
    radius = tl.load(radii + place, mask=inside, other=0.0)
    reach = radius * tl.exp(bump * strength) * tl.div_rn(1.0, tl.sqrt_rn(stretched))
    tl.store(out + place, reach, mask=inside)


def aim(
    centre: Tensor, radius: Tensor, pitch: Tensor, position: Tensor, origin: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Ball, centre, radius, direction and distance of every voxel (see :mod:`anystar_torch.kernels.balls`).

    All arguments are contiguous: ``[B, 3, n, m, k]``, ``[B, n, m, k]``, ``[B]`` and ``[B, 3, D, H, W]``, which is
    moved by ``origin`` into the frame of the balls.

    Arguments are those of :func:`anystar_torch.kernels.balls.aim_at_balls`.
    """
    batch, _, *shape = position.shape
    ball = empty(batch, 1, *shape, dtype=int32, device=position.device)
    centres, directions = empty_like(position), empty_like(position)
    radii, distances = empty_like(ball, dtype=float32), empty_like(ball, dtype=float32)
    count = elements(ball)
    with on_device_of(position):
        _aim[programs(batch, count, BLOCK)](
            centre,
            radius,
            pitch,
            position,
            ball,
            centres,
            radii,
            directions,
            distances,
            count,
            *radius.shape[1:],
            *origin,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return ball, centres, radii, directions, distances


def star_reach(voxels: Sequence[Tensor], stars: Tensor, noise: Tensor, shape: Sequence[float]) -> Tensor:
    """Distance of the surface of a smooth star from its centre, float32 ``[B, 1, D, H, W]``.

    Args:
        voxels: number of each voxel's star in its sample, int32 ``[B, 1, D, H, W]``; its radius, float32 of the same
            shape; unit vector from its centre to the voxel, ``[B, 3, D, H, W]``.
        stars: ``[B, balls, 8]``.
        noise: ``[B, 1, n, m, k]``; its outermost nodes lie at ``-half`` and ``half``.
        shape: half, bumps, strength.
    """
    ball, radius, direction = voxels
    out = empty_like(radius)
    count, nodes = elements(ball), noise.shape[2:]
    half, bumps, strength = shape
    with on_device_of(ball):
        _star_reach[programs(len(ball), count, BLOCK)](
            ball,
            radius,
            direction,
            stars,
            noise,
            out,
            count,
            stars.shape[1],
            *nodes,
            *fitted(nodes, [half] * 3),
            bumps,
            strength,
            STAR=STAR,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


_SIZES = {"count": "i32", "n": "i32", "m": "i32", "k": "i32"}
_FITTED = {f"{name}_{axis}": "fp32" for name in ("factor", "offset") for axis in "zyx"}
_AIM = _SIZES | {
    name: "*fp32"
    for name in "centres radii pitches positions centre_out radius_out direction_out distance_out".split()  # noqa: SIM905
}
_AIM |= {"ball_out": "*i32", "origin_z": "fp32", "origin_y": "fp32", "origin_x": "fp32"}
_STAR = _SIZES | _FITTED | {name: "*fp32" for name in ("radii", "directions", "stars", "noise", "out")}
_STAR |= {"balls": "*i32", "total": "i32", "bumps": "fp32", "strength": "fp32"}
SPECIALISATIONS = {
    "balls.aim": Specialisation(_aim, _AIM, {"BLOCK": BLOCK}),
    "balls.star_reach": Specialisation(_star_reach, _STAR, {"STAR": STAR, "BLOCK": BLOCK}),
}
