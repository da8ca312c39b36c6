"""Fields on lattices, interpolated linearly at positions on a GPU; the largest of many of them.

The same arithmetic, in the same order, as ``csrc/lattice.hpp``: launched without fused multiply-add, results are the
same bits.
"""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor, empty, float32, int32

from anystar_torch.kernels.triton.lanes import lanes, vector_at, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = lanes(256, 1 << 15)


@triton.jit
def mixed(low, high, fraction):
    """Linear interpolation."""
    return low + fraction * (high - low)


@triton.jit
def cell(position, size, factor, offset):
    """Node below a position, 1 if there is a node above, and the fraction; outside, the nearest face."""
    place = tl.minimum(tl.maximum(position * factor + offset, 0.0), size - 1.0)
    below = place.to(tl.int32)
    return below, (below < size - 1).to(tl.int32), place - below.to(tl.float32)


@triton.jit
def periodic_cell(position, size, inverse):
    """The same for periodic nodes one unit apart; the step above may lead back to the first node."""
    node = position - tl.floor(position * inverse) * size
    below = node.to(tl.int32)
    fraction = node - below.to(tl.float32)
    below = tl.where(below > size - 1, 0, below)  # a position just below 0 rounds to `size`
    below = tl.maximum(below, 0)
    return below, tl.where(below < size - 1, 1, 1 - size), fraction


@triton.jit
def interpolated(field, start, step_z, step_y, step_x, z, y, x):
    """The field in the cell of node ``start``, at fractions z, y, x."""
    above = start + step_z
    low = mixed(
        mixed(tl.load(field + start), tl.load(field + start + step_x), x),
        mixed(tl.load(field + start + step_y), tl.load(field + start + step_y + step_x), x),
        y,
    )
    high = mixed(
        mixed(tl.load(field + above), tl.load(field + above + step_x), x),
        mixed(tl.load(field + above + step_y), tl.load(field + above + step_y + step_x), x),
        y,
    )
    return mixed(low, high, z)


@triton.jit
def _sample(
    fields,
    positions,
    out,
    count,
    channels,
    n,
    m,
    k,
    factor_z,
    factor_y,
    factor_x,
    offset_z,
    offset_y,
    offset_x,
    PERIODIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, index, inside, _ = voxels_of_program(count, BLOCK)
    z, y, x = vector_at(positions, row, count, index, inside)
    if PERIODIC:
        z0, dz, z = periodic_cell(z, n, factor_z)
        y0, dy, y = periodic_cell(y, m, factor_y)
        x0, dx, x = periodic_cell(x, k, factor_x)
    else:
        z0, dz, z = cell(z, n, factor_z, offset_z)
        y0, dy, y = cell(y, m, factor_y, offset_y)
        x0, dx, x = cell(x, k, factor_x, offset_x)
    start = (z0 * m + y0) * k + x0
    dz = dz * m * k
    dy = dy * k
    for channel in range(channels):
        entry = row * channels + channel
        value = interpolated(fields + entry * n * m * k, start, dz, dy, dx, z, y, x)
        tl.store(out + entry * count + index, value, mask=inside)


@triton.jit
def _strongest(
    fields,
    counts,
    warps,
    positions,
    out,
    count,
    channels,
    n,
    m,
    k,
    wn,
    wm,
    wk,
    factor_z,
    factor_y,
    factor_x,
    offset_z,
    offset_y,
    offset_x,
    warp_factor_z,
    warp_factor_y,
    warp_factor_x,
    warp_offset_z,
    warp_offset_y,
    warp_offset_x,
    BLOCK: tl.constexpr,
):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    here = tl.minimum(tl.load(counts + row), channels)
    here = tl.where(here < 2, 0, here)  # one field or none: there is nothing to compare
    some = index < tl.where(here > 0, count, 0)
    z, y, x = vector_at(positions, row, count, index, some)
    z0, dz, fz = cell(z, wn, warp_factor_z, warp_offset_z)
    y0, dy, fy = cell(y, wm, warp_factor_y, warp_offset_y)
    x0, dx, fx = cell(x, wk, warp_factor_x, warp_offset_x)
    start = (z0 * wm + y0) * wk + x0
    warp = warps + row * 3 * wn * wm * wk
    nodes = wn * wm * wk
    z = z + interpolated(warp, start, dz * wm * wk, dy * wk, dx, fz, fy, fx)
    y = y + interpolated(warp + nodes, start, dz * wm * wk, dy * wk, dx, fz, fy, fx)
    x = x + interpolated(warp + nodes + nodes, start, dz * wm * wk, dy * wk, dx, fz, fy, fx)
    z0, dz, fz = cell(z, n, factor_z, offset_z)
    y0, dy, fy = cell(y, m, factor_y, offset_y)
    x0, dx, fx = cell(x, k, factor_x, offset_x)
    start = (z0 * m + y0) * k + x0
    best = tl.full([BLOCK], -1e30, tl.float32)
    winner = tl.zeros([BLOCK], tl.int32)
    for channel in range(0, here):
        field = fields + (row * channels + channel) * n * m * k
        value = interpolated(field, start, dz * m * k, dy * k, dx, fz, fy, fx)
        larger = value > best
        winner = tl.where(larger, channel, winner)
        best = tl.where(larger, value, best)
    tl.store(out + place, winner, mask=inside)


def sample(
    fields: Tensor, position: Tensor, factor: Sequence[float], offset: Sequence[float], periodic: bool
) -> Tensor:
    """Fields ``[B, C, n, m, k]`` at positions ``[B, 3, D, H, W]``, both contiguous; float32 ``[B, C, D, H, W]``.

    A position p lies at node ``p * factor + offset`` of its axis; ``periodic``: at node p, modulo the axis' size.

    Args:
        fields: ``[B, C, n, m, k]``, contiguous.
        position: ``[B, 3, D, H, W]``, (z, y, x), contiguous.
        factor: nodes per unit of ``position`` along (z, y, x).
        offset: node of position 0 along (z, y, x).
        periodic: whether the lattice is one period; then ``factor`` is not used.
    """
    batch, channels, *nodes = fields.shape
    out = empty(batch, channels, *position.shape[2:], dtype=float32, device=position.device)
    count = elements(out[:, 0])
    factor = [1.0 / size for size in nodes] if periodic else factor
    with on_device_of(position):
        _sample[programs(batch, count, BLOCK)](
            fields,
            position,
            out,
            count,
            channels,
            *nodes,
            *factor,
            *offset,
            PERIODIC=periodic,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def strongest(
    fields: Tensor, counts: Tensor, warp: Tensor, position: Tensor, half: Sequence[float]
) -> Tensor:
    """Number of the largest of the first ``counts`` fields at ``position`` + warp, int32 ``[B, D, H, W]``.

    Args:
        fields: ``[B, C, n, m, k]``, contiguous; nodes from ``-half`` to ``half``.
        counts: int32 ``[B]``.
        warp: ``[B, 3, wn, wm, wk]``, contiguous; nodes from ``-half`` to ``half``.
        position: ``[B, 3, D, H, W]``, contiguous.
        half: (z, y, x).
    """
    batch, channels, *nodes = fields.shape
    out = empty(batch, *position.shape[2:], dtype=int32, device=position.device)
    count = elements(out)
    with on_device_of(position):
        _strongest[programs(batch, count, BLOCK)](
            fields,
            counts,
            warp,
            position,
            out,
            count,
            channels,
            *nodes,
            *warp.shape[2:],
            *fitted(nodes, half),
            *fitted(warp.shape[2:], half),
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def fitted(nodes: Sequence[int], half: Sequence[float]) -> list[float]:
    """Factors and offsets of a lattice whose outermost nodes lie at ``-half`` and ``half``.

    Args:
        nodes: nodes of the lattice along (z, y, x).
        half: half the extent of the lattice along (z, y, x), in the units of the positions.
    """
    offset = [(size - 1) / 2 for size in nodes]
    return [o / h for o, h in zip(offset, half, strict=True)] + offset


_AXES = ("z", "y", "x")
_FITTED = {f"{name}_{axis}": "fp32" for name in ("factor", "offset") for axis in _AXES}
_COMMON = {
    "fields": "*fp32",
    "positions": "*fp32",
    "count": "i32",
    "channels": "i32",
    "n": "i32",
    "m": "i32",
    "k": "i32",
} | _FITTED
_SAMPLE = _COMMON | {"out": "*fp32"}
_STRONGEST = (
    _COMMON
    | {f"warp_{name}": kind for name, kind in _FITTED.items()}
    | {"counts": "*i32", "warps": "*fp32", "out": "*i32", "wn": "i32", "wm": "i32", "wk": "i32"}
)
SPECIALISATIONS = {
    "lattice.sample": Specialisation(_sample, _SAMPLE, {"PERIODIC": False, "BLOCK": BLOCK}),
    "lattice.sample_periodic": Specialisation(_sample, _SAMPLE, {"PERIODIC": True, "BLOCK": BLOCK}),
    "lattice.strongest": Specialisation(_strongest, _STRONGEST, {"BLOCK": BLOCK}),
}
