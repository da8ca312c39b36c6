"""Positions of voxels in the synthetic scene on a GPU: all steps of the spatial effects in one pass.

Reference: :func:`anystar_torch.kernels.coordinates.torch_evaluate`, to rounding (1e-6 of the position).
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32, int32

from anystar_torch.kernels.triton.lanes import lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, on_device_of, programs

BLOCK = lanes(512, 1 << 15)


@triton.jit
def _reflected(p, half):
    """The position reflected once at both faces, and the side that it came from: -1, 0 or 1."""
    whole = 2.0 * half
    turn = tl.div_rn(p, whole + p * 0.0)  # rounded as on the CPU: a face belongs to the inside
    turn = tl.where(turn > 0.5, 1.0, tl.where(turn < -0.5, -1.0, 0.0))
    return (p - turn * whole) * (1.0 - 2.0 * tl.abs(turn)), turn


@triton.jit
def _boxed(p, half):
    """The position clamped to the box, the share of its voxel inside, and its fraction between voxels."""
    inside = tl.minimum(tl.maximum(half + 1.0 - tl.abs(p), 0.0), 1.0)
    place = p + half
    return tl.minimum(tl.maximum(p, -half), half), inside, place - tl.floor(place)


@triton.jit
def _mapped(z, y, x, s):
    """The positions after one affine step, whose parameters begin at ``s``."""
    a = z + tl.load(s + 9)
    b = y + tl.load(s + 10)
    c = x + tl.load(s + 11)
    z = tl.load(s) * a + tl.load(s + 1) * b + tl.load(s + 2) * c + tl.load(s + 12)
    y = tl.load(s + 3) * a + tl.load(s + 4) * b + tl.load(s + 5) * c + tl.load(s + 13)
    x = tl.load(s + 6) * a + tl.load(s + 7) * b + tl.load(s + 8) * c + tl.load(s + 14)
    return z, y, x


@triton.jit
def _store_three(to, z, y, x, voxels, there):
    """Write one value per axis, in volumes that follow each other."""
    tl.store(to, z, mask=there)
    tl.store(to + voxels, y, mask=there)
    tl.store(to + voxels + voxels, x, mask=there)


@triton.jit
def _evaluate(
    displacement,
    parameters,
    position,
    piece,
    cover,
    fraction,
    depth,
    height,
    width,
    LIMITS: tl.constexpr,
    STEPS: tl.constexpr,
    DISPLACED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """``LIMITS`` has two bits per step: 0 nothing, 1 reflection, 2 box."""
    voxels = depth * height * width
    sample, index, there, place = voxels_of_program(voxels, BLOCK)
    z = (index // (height * width)).to(tl.float32) - (depth - 1) * 0.5
    y = ((index // width) % height).to(tl.float32) - (height - 1) * 0.5
    x = (index % width).to(tl.float32) - (width - 1) * 0.5
    three = sample * 3 * voxels + index
    if DISPLACED:
        z += tl.load(displacement + three, mask=there, other=0.0)
        y += tl.load(displacement + three + voxels, mask=there, other=0.0)
        x += tl.load(displacement + three + voxels + voxels, mask=there, other=0.0)
    number = tl.zeros((BLOCK,), dtype=tl.int32)
    covered = tl.full((BLOCK,), 1.0, dtype=tl.float32)
    fz = tl.zeros((BLOCK,), dtype=tl.float32)
    fy = tl.zeros((BLOCK,), dtype=tl.float32)
    fx = tl.zeros((BLOCK,), dtype=tl.float32)
    for step in tl.static_range(STEPS):
        s = parameters + (sample * STEPS + step) * 18
        z, y, x = _mapped(z, y, x, s)
        if (LIMITS >> (2 * step)) % 4 == 1:
            z, up = _reflected(z, tl.load(s + 15))
            y, left = _reflected(y, tl.load(s + 16))
            x, back = _reflected(x, tl.load(s + 17))
            number = number * 27 + (up * 9.0 + left * 3.0 + back + 13.0).to(tl.int32)
        if (LIMITS >> (2 * step)) % 4 == 2:
            z, in_z, fz = _boxed(z, tl.load(s + 15))
            y, in_y, fy = _boxed(y, tl.load(s + 16))
            x, in_x, fx = _boxed(x, tl.load(s + 17))
            covered = in_z * in_y * in_x
    _store_three(position + three, z, y, x, voxels, there)
    _store_three(fraction + three, fz, fy, fx, voxels, there)
    tl.store(piece + place, number, mask=there)
    tl.store(cover + place, covered, mask=there)


def evaluate(
    shape: list[int], displacement: Tensor | None, parameters: Tensor, limits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Position ``[B, 3, D, H, W]``, piece, cover ``[B, 1, D, H, W]`` and fraction ``[B, 3, D, H, W]``.

    Arguments are those of :func:`anystar_torch.kernels.coordinates.evaluate`.
    """
    batch, device = len(parameters), parameters.device
    position = empty(batch, 3, *shape, dtype=float32, device=device)
    fraction = empty(batch, 3, *shape, dtype=float32, device=device)
    piece = empty(batch, 1, *shape, dtype=int32, device=device)
    cover = empty(batch, 1, *shape, dtype=float32, device=device)
    code = sum(limit << (2 * number) for number, limit in enumerate(limits))
    with on_device_of(parameters):
        _evaluate[programs(batch, shape[0] * shape[1] * shape[2], BLOCK)](
            parameters if displacement is None else displacement,
            parameters,
            position,
            piece,
            cover,
            fraction,
            *shape,
            LIMITS=code,
            STEPS=len(limits),
            DISPLACED=displacement is not None,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return position, piece, cover, fraction


_POINTERS = {name: "*fp32" for name in ("displacement", "parameters", "position", "cover", "fraction")}
SPECIALISATIONS = {
    "coordinates.evaluate": Specialisation(
        _evaluate,
        {**_POINTERS, "piece": "*i32", "depth": "i32", "height": "i32", "width": "i32"},
        {"LIMITS": 0b01_00_01_01_00_10, "STEPS": 6, "DISPLACED": True, "BLOCK": BLOCK},
    )
}
