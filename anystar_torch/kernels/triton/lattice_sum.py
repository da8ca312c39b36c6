"""Smooth noise on a GPU: sums of resampled lattices, and Perlin's gradient noise (see ``csrc/lattice_sum.hpp``)."""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.lanes import lanes, voxels_of_program
from anystar_torch.kernels.triton.lattice import mixed
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = lanes(256, 1 << 15)
LEVELS = 3
"""Levels that one launch adds."""


@triton.jit
def _node(index, size, ratio):
    """Node below an index of the result, node above, and the fraction."""
    place = ratio * index.to(tl.float32)
    below = tl.minimum(place.to(tl.int32), size - 1)
    return below, tl.minimum(below + 1, size - 1), place - below.to(tl.float32)


@triton.jit
def _level(fields, row, z, y, x, n, m, k, ratio_z, ratio_y, ratio_x):
    """One level at nodes (z, y, x) of the result: y first, then z, then x, as in the C++ kernel."""
    z0, z1, fz = _node(z, n, ratio_z)
    y0, y1, fy = _node(y, m, ratio_y)
    x0, x1, fx = _node(x, k, ratio_x)
    field = fields + row * n * m * k
    a = field + (z0 * m + y0) * k
    b = field + (z0 * m + y1) * k
    c = field + (z1 * m + y0) * k
    d = field + (z1 * m + y1) * k
    low = mixed(mixed(tl.load(a + x0), tl.load(b + x0), fy), mixed(tl.load(c + x0), tl.load(d + x0), fy), fz)
    high = mixed(mixed(tl.load(a + x1), tl.load(b + x1), fy), mixed(tl.load(c + x1), tl.load(d + x1), fy), fz)
    return mixed(low, high, fx)


@triton.jit
def _resampled_sum(
    out,
    depth,
    height,
    width,
    first,
    n0,
    m0,
    k0,
    z0,
    y0,
    x0,
    second,
    n1,
    m1,
    k1,
    z1,
    y1,
    x1,
    third,
    n2,
    m2,
    k2,
    z2,
    y2,
    x2,
    COUNT: tl.constexpr,
    ADD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, index, inside, place = voxels_of_program(depth * height * width, BLOCK)
    x = index % width
    y = index // width % height
    z = tl.minimum(index // (width * height), depth - 1)
    result = out + place
    total = tl.zeros([BLOCK], tl.float32)
    if ADD:
        total = tl.load(result, mask=inside, other=0.0)
    total += _level(first, row, z, y, x, n0, m0, k0, z0, y0, x0)
    if COUNT > 1:
        total += _level(second, row, z, y, x, n1, m1, k1, z1, y1, x1)
    if COUNT > 2:
        total += _level(third, row, z, y, x, n2, m2, k2, z2, y2, x2)
    tl.store(result, total, mask=inside)


@triton.jit
def _fade(index, samples, inverse, corner: tl.constexpr):
    """Offset from a corner of the cell, and the corner's weight."""
    f = (index % samples).to(tl.float32) * inverse
    t = f * f * f * (f * (f * 6.0 - 15.0) + 10.0)
    if corner == 0:
        return f, 1.0 - t
    return f - 1.0, t


@triton.jit
def _gradient_noise(gradients, out, n, m, k, samples, inverse, BLOCK: tl.constexpr):
    width = (k - 1) * samples
    height = (m - 1) * samples
    depth = (n - 1) * samples
    row, index, inside, place = voxels_of_program(depth * height * width, BLOCK)
    x = index % width
    y = index // width % height
    z = tl.minimum(index // (width * height), depth - 1)
    nodes = n * m * k
    total = tl.zeros([BLOCK], tl.float32)
    for corner in tl.static_range(8):
        oz, wz = _fade(z, samples, inverse, corner // 4)
        oy, wy = _fade(y, samples, inverse, corner // 2 % 2)
        ox, wx = _fade(x, samples, inverse, corner % 2)
        node = (
            ((z // samples + corner // 4) * m + y // samples + corner // 2 % 2) * k
            + x // samples
            + corner % 2
        )
        own = gradients + row * 3 * nodes + node
        inner = tl.load(own + nodes + nodes) * ox + tl.load(own + nodes) * oy + tl.load(own) * oz
        total += inner * (wz * wy * wx)
    tl.store(out + place, total, mask=inside)


def resampled_sum(levels: Sequence[Tensor], nodes: Sequence[int]) -> Tensor:
    """Sum of ``levels``, each ``[B, C, n, m, k]`` contiguous, interpolated from face to face to ``nodes``.

    Arguments are those of :func:`anystar_torch.kernels.lattice.resampled_sum`.
    """
    batch, channels = levels[0].shape[:2]
    out = empty(batch, channels, *nodes, dtype=float32, device=levels[0].device)
    grid = programs(batch * channels, elements(out[:, 0]), BLOCK)
    with on_device_of(out):
        for start in range(0, len(levels), LEVELS):
            group = list(levels[start : start + LEVELS])
            arguments: list[Tensor | int | float] = []
            for level in group + [group[0]] * (LEVELS - len(group)):  # unused arguments need a pointer too
                sizes = list(zip(level.shape[2:], nodes, strict=True))
                arguments += [level, *level.shape[2:]]
                arguments += [(a - 1) / (b - 1) if b > 1 else 0.0 for a, b in sizes]
            _resampled_sum[grid](
                out,
                *nodes,
                *arguments,
                COUNT=len(group),
                ADD=start > 0,
                BLOCK=BLOCK,
                enable_fp_fusion=False,
            )
    return out


def gradient_noise(gradients: Tensor, samples: int) -> Tensor:
    """Perlin's gradient noise of unit vectors ``[B, 3, n, m, k]``, contiguous; ``[B, 1, (n - 1) samples, ...]``.

    Arguments are those of :func:`anystar_torch.kernels.lattice.gradient_noise`.
    """
    batch, _, *corners = gradients.shape
    size = [(corner - 1) * samples for corner in corners]
    out = empty(batch, 1, *size, dtype=float32, device=gradients.device)
    with on_device_of(out):
        _gradient_noise[programs(batch, elements(out), BLOCK)](
            gradients, out, *corners, samples, 1.0 / samples, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


_LEVELS = {"out": "*fp32", "depth": "i32", "height": "i32", "width": "i32"}
for _number, _name in enumerate(("first", "second", "third")):
    _LEVELS[_name] = "*fp32"
    _LEVELS |= {f"{size}{_number}": "i32" for size in "nmk"} | {f"{axis}{_number}": "fp32" for axis in "zyx"}
_GRADIENTS = {
    "gradients": "*fp32",
    "out": "*fp32",
    "n": "i32",
    "m": "i32",
    "k": "i32",
    "samples": "i32",
    "inverse": "fp32",
}
SPECIALISATIONS = {
    "lattice_sum.resampled_sum": Specialisation(
        _resampled_sum, _LEVELS, {"COUNT": LEVELS, "ADD": True, "BLOCK": BLOCK}
    ),
    "lattice_sum.gradient_noise": Specialisation(_gradient_noise, _GRADIENTS, {"BLOCK": BLOCK}),
}
