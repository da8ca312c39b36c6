"""The exact distance transform on a GPU, and each voxel's share of its label's largest distance.

One kernel an axis: along x to the nearest voxel of another label, then along y and z the lowest parabola. Each voxel
searches outwards and stops when no parabola can be lower, as ``csrc/edt.hpp`` does for short runs, with the same sums.
The background is not searched, so that the time follows the size of the objects.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.label_table import (
    check_voxels,
    empty_table,
    known_slot_of,
    slot_of,
    slots_for,
)
from anystar_torch.kernels.triton.lanes import any_of, lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, blocks, on_device_of, programs

BLOCK = lanes(128, 4096)
_CONSTANTS = {
    "BLOCK": BLOCK,
    "num_warps": 1,
    "enable_fp_fusion": False,
}  # one warp: a block ends when its voxels do


@triton.jit
def _along_x(labels, squared, voxels, width, length, BLOCK: tl.constexpr):
    """Squared distance along x to the next voxel of another label, infinite where there is none."""
    _, voxel, inside, place = voxels_of_program(voxels, BLOCK)
    x = voxel % width
    own = tl.load(labels + place, mask=inside, other=0)
    searching = own > 0
    found = tl.full((BLOCK,), float("inf"), tl.float32)
    step = 1
    going = any_of(searching)
    while going > 0:
        left, right = searching & (x >= step), searching & (x + step < width)
        before = tl.load(labels + place - step, mask=left, other=0)
        after = tl.load(labels + place + step, mask=right, other=0)
        ends = (left & (before != own)) | (right & (after != own))
        found = tl.where(ends, step * length, found)
        searching = searching & (found == float("inf"))
        step += 1
        going = tl.where(step < width, any_of(searching), 0)
    tl.store(squared + place, found * found, mask=own > 0)


@triton.jit
def _lowest(labels, squared, own, best, place, size, apart, square):
    """Lowest parabola over the voxels of a line, ``apart`` elements from one to the next.

    Within a voxel's own run of equal labels the parabolas start at ``squared``, at the run's end at 0; beyond it none
    is lower.
    """
    step = 1
    going = any_of((own > 0) & (best > square))
    while going > 0:
        far = step * 1.0
        rise, end = square * (far * far), square * far * far
        searching = (own > 0) & (best > rise)
        for side in tl.static_range(2):
            shift = step * (2 * side - 1)
            within = searching & (place + shift >= 0) & (place + shift < size)
            same = within & (tl.load(labels + shift * apart, mask=within, other=0) == own)
            value = rise + tl.load(squared + shift * apart, mask=same, other=0.0)
            value = tl.where(same, value, end)
            best = tl.where(within & (value < best), value, best)
        step += 1
        far = step * 1.0
        going = tl.where(step < size, any_of((own > 0) & (best > square * (far * far))), 0)
    return best


@triton.jit
def _along_y(labels, squared, out, voxels, height, width, length, BLOCK: tl.constexpr):
    """Turn squared distances within lines along x into those within planes."""
    _, voxel, inside, here = voxels_of_program(voxels, BLOCK)
    own = tl.load(labels + here, mask=inside, other=0)
    best = tl.load(squared + here, mask=own > 0, other=0.0)
    y = voxel // width % height
    best = _lowest(labels + here, squared + here, own, best, y, height, width, length * length)
    tl.store(out + here, best, mask=own > 0)


@triton.jit
def _along_z(labels, squared, voxel, inside, here, depth, height, width, length_z, length_y, length_x):
    """Squared distances of a program's voxels, their labels, and their positions along z, y, x.

    A sample that is one object from border to border is bounded by the voxels around the volume.
    """
    own = tl.load(labels + here, mask=inside, other=0)
    best = tl.load(squared + here, mask=own > 0, other=0.0)
    line = voxel // width
    z, y, x = line // height, line % height, voxel % width
    best = _lowest(labels + here, squared + here, own, best, z, depth, height * width, length_z * length_z)
    to_z = tl.minimum(z + 1, depth - z).to(tl.float32) * length_z
    to_y = tl.minimum(y + 1, height - y).to(tl.float32) * length_y
    to_x = tl.minimum(x + 1, width - x).to(tl.float32) * length_x
    outside = tl.minimum(tl.minimum(to_z, to_y), to_x)
    return tl.where(best == float("inf"), outside * outside, best), own, z, y, x


@triton.jit
def _distances(labels, squared, out, depth, height, width, length_z, length_y, length_x, BLOCK: tl.constexpr):
    _, voxel, inside, here = voxels_of_program(depth * height * width, BLOCK)
    best, own, _, _, _ = _along_z(
        labels, squared, voxel, inside, here, depth, height, width, length_z, length_y, length_x
    )
    tl.store(out + here, tl.where(own > 0, tl.sqrt_rn(best), 0.0), mask=inside)


@triton.jit
def _largest(
    labels,
    squared,
    out,
    table,
    slots,
    depth,
    height,
    width,
    grid_z,
    grid_y,
    grid_x,
    length_z,
    length_y,
    length_x,
    BLOCK: tl.constexpr,
):
    """Squared distances at the grid points, and the largest of each label into the table."""
    sample, voxel, inside, here = voxels_of_program(depth * height * width, BLOCK)
    best, own, z, y, x = _along_z(
        labels, squared, voxel, inside, here, depth, height, width, length_z, length_y, length_x
    )
    points_z, points_y, points_x = tl.cdiv(depth, grid_z), tl.cdiv(height, grid_y), tl.cdiv(width, grid_x)
    on_grid = (own > 0) & (z % grid_z == 0) & (y % grid_y == 0) & (x % grid_x == 0)
    point = (z // grid_z * points_y + y // grid_y) * points_x + x // grid_x
    tl.store(out + sample * points_z * points_y * points_x + point, best, mask=on_grid)
    keys = table + sample * 2 * slots
    slot = slot_of(keys, own, own > 0, slots)
    # positive floating-point numbers are in the order of their bits
    bits = best.to(tl.int32, bitcast=True)
    seen = tl.load(keys + slots + slot, mask=own > 0, other=0)
    tl.atomic_max(keys + slots + slot, bits, mask=(own > 0) & (bits > seen), sem="relaxed")


@triton.jit
def _shares(labels, out, table, slots, depth, height, width, grid_z, grid_y, grid_x, BLOCK: tl.constexpr):
    """Turn squared distances at the grid points into shares of the label's largest distance, in place."""
    points_z, points_y, points_x = tl.cdiv(depth, grid_z), tl.cdiv(height, grid_y), tl.cdiv(width, grid_x)
    points = points_z * points_y * points_x
    sample, point, inside, here = voxels_of_program(points, BLOCK)
    line = point // points_x
    z, y, x = line // points_y * grid_z, line % points_y * grid_y, point % points_x * grid_x
    voxel = (z * height + y) * width + x
    own = tl.load(labels + sample * depth * height * width + voxel, mask=inside, other=0)
    keys = table + sample * 2 * slots
    slot = known_slot_of(keys, own, own > 0, slots)
    largest = tl.load(keys + slots + slot, mask=own > 0, other=0).to(tl.float32, bitcast=True)
    squared = tl.load(out + here, mask=own > 0, other=0.0)
    share = tl.div_rn(tl.sqrt_rn(squared), tl.sqrt_rn(tl.where(own > 0, largest, 1.0)))
    tl.store(out + here, share, mask=inside)


def _within_planes(labels: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """Squared distances within each plane, of the foreground."""
    lines: Tensor = empty(labels.shape, dtype=float32, device=labels.device)
    planes: Tensor = empty(labels.shape, dtype=float32, device=labels.device)
    voxels, (_, height, width) = labels[0].numel(), labels.shape[2:]
    grid = programs(len(labels), voxels, BLOCK)
    _along_x[grid](labels, lines, voxels, width, spacing[2], **_CONSTANTS)
    _along_y[grid](labels, lines, planes, voxels, height, width, spacing[1], **_CONSTANTS)
    return planes


def distance_transform(labels: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """Distance of every voxel to the nearest voxel of another label; three launches.

    Args:
        labels: contiguous int32 ``[B, 1, D, H, W]``.
        spacing: length of a voxel along (z, y, x).

    Returns:
        float32 of the same shape, 0 in the background.
    """
    out = empty(labels.shape, dtype=float32, device=labels.device)
    if labels.numel() == 0:
        return out
    voxels = programs(len(labels), check_voxels(labels), BLOCK)
    with on_device_of(labels):
        planes = _within_planes(labels, spacing)
        _distances[voxels](labels, planes, out, *labels.shape[2:], *spacing, **_CONSTANTS)
    return out


def object_probability(
    labels: Tensor, grid: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Tensor:
    """Distance over the largest of the label, at the grid points; five launches, one of them to clear the table.

    Args:
        labels: contiguous int32 ``[B, 1, D, H, W]``.
        grid: keep every n-th voxel along (z, y, x).
        spacing: length of a voxel along (z, y, x).

    Returns:
        float32 ``[B, 1, ceil(D / grid), ...]``, 0 in the background.
    """
    shape = labels.shape[2:]
    d, h, w = (blocks(size, step) for size, step in zip(shape, grid, strict=True))
    out = empty(len(labels), 1, d, h, w, dtype=float32, device=labels.device)
    if out.numel() == 0:
        return out
    slots = slots_for(labels)
    with on_device_of(labels):
        planes = _within_planes(labels, spacing)
        table = empty_table(labels, slots)
        voxels = programs(len(labels), labels[0].numel(), BLOCK)
        _largest[voxels](labels, planes, out, table, slots, *shape, *grid, *spacing, **_CONSTANTS)
        points = programs(len(labels), d * h * w, BLOCK)
        _shares[points](labels, out, table, slots, *shape, *grid, **_CONSTANTS)
    return out


_VOLUME = {"labels": "*i32", "squared": "*fp32", "out": "*fp32"} | dict.fromkeys(
    ("voxels", "depth", "height", "width"), "i32"
)
_SPACING = dict.fromkeys(("length", "length_z", "length_y", "length_x"), "fp32")
_TABLE = {"table": "*i32"} | dict.fromkeys(("slots", "grid_z", "grid_y", "grid_x"), "i32")


def _specialised(kernel) -> Specialisation:
    types = {name: kind for name, kind in (_VOLUME | _SPACING | _TABLE).items() if name in kernel.arg_names}
    return Specialisation(kernel, types, {"BLOCK": BLOCK}, num_warps=1)


SPECIALISATIONS = {
    "distance_transform.along_x": _specialised(_along_x),
    "distance_transform.along_y": _specialised(_along_y),
    "distance_transform.distances": _specialised(_distances),
    "distance_transform.largest": _specialised(_largest),
    "distance_transform.shares": _specialised(_shares),
}
