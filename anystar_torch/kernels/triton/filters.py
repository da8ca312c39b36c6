"""Filters along the axes of volumes: a Gaussian, three taps, thick slices. Sums have the order of ``csrc/``."""

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.lanes import voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = 512


@triton.jit
def _gaussian_tap(tap, width):
    """Integral of a Gaussian of this width, not 0, over the voxel ``tap`` voxels from its centre."""
    scale = tl.math.div_rn(0.70710678, width)
    return 0.5 * (tl.erf((tap + 0.5) * scale) - tl.erf((tap - 0.5) * scale))


@triton.jit
def _gaussian(image, sigma, out, count, size, inner, axis, taps, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    at = index // inner % size
    given = tl.load(sigma + row * 3 + axis)
    sharp = given == 0.0
    width = tl.where(sharp, 1.0, given)
    reach = tl.minimum(tl.floor(tl.maximum(width * 4.0, 0.5) + 0.5), taps * 1.0).to(tl.int32)
    reach = tl.where(sharp, 0, reach)
    start = image + row * count
    total = tl.load(start + index, mask=inside, other=0.0)
    total *= tl.where(sharp, 1.0, _gaussian_tap(0.0, width))
    for tap in range(1, reach + 1):
        below = index + (tl.maximum(at - tap, 0) - at) * inner
        above = index + (tl.minimum(at + tap, size - 1) - at) * inner
        sides = tl.load(start + below, mask=inside, other=0.0) + tl.load(
            start + above, mask=inside, other=0.0
        )
        total += sides * _gaussian_tap(tap * 1.0, width)
    tl.store(out + place, total, mask=inside)


@triton.jit
def _side(sides, row, count, axis: tl.constexpr, voxel, inside, PER_VOXEL: tl.constexpr):
    """Weight of each neighbour: one per volume, or one per voxel and axis from a fraction between voxels."""
    if PER_VOXEL:
        fraction = tl.load(sides + (row * 3 + axis) * count + voxel, mask=inside, other=0.0)
        return (1.0 - tl.sqrt(1.0 - 3.0 * fraction * (1.0 - fraction))) * 0.3333333333333333
    else:
        return tl.load(sides + row)


@triton.jit
def _three_taps(before, centre, after, side):
    return (((before + after) - centre) - centre) * side + centre


@triton.jit
def _along_z(image, sides, row, count, depth, plane, z, rest, inside, PER_VOXEL: tl.constexpr):
    """The volume filtered along z, at plane z and place ``rest`` in it."""
    start = image + row * count + rest
    before = tl.load(start + tl.maximum(z - 1, 0) * plane, mask=inside, other=0.0)
    centre = tl.load(start + z * plane, mask=inside, other=0.0)
    after = tl.load(start + tl.minimum(z + 1, depth - 1) * plane, mask=inside, other=0.0)
    return _three_taps(
        before, centre, after, _side(sides, row, count, 0, z * plane + rest, inside, PER_VOXEL)
    )


@triton.jit
def _along_zy(image, sides, row, count, depth, height, width, z, y, x, inside, PER_VOXEL: tl.constexpr):
    """The volume filtered along z and y."""
    plane = height * width
    above, below = tl.maximum(y - 1, 0) * width + x, tl.minimum(y + 1, height - 1) * width + x
    here = y * width + x
    return _three_taps(
        _along_z(image, sides, row, count, depth, plane, z, above, inside, PER_VOXEL),
        _along_z(image, sides, row, count, depth, plane, z, here, inside, PER_VOXEL),
        _along_z(image, sides, row, count, depth, plane, z, below, inside, PER_VOXEL),
        _side(sides, row, count, 1, z * plane + here, inside, PER_VOXEL),
    )


@triton.jit
def _smooth(image, sides, out, count, depth, height, width, PER_VOXEL: tl.constexpr, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    x, y, z = index % width, index // width % height, index // (width * height)
    before, after = tl.maximum(x - 1, 0), tl.minimum(x + 1, width - 1)
    smoothed = _three_taps(
        _along_zy(image, sides, row, count, depth, height, width, z, y, before, inside, PER_VOXEL),
        _along_zy(image, sides, row, count, depth, height, width, z, y, x, inside, PER_VOXEL),
        _along_zy(image, sides, row, count, depth, height, width, z, y, after, inside, PER_VOXEL),
        _side(sides, row, count, 2, index, inside, PER_VOXEL),
    )
    tl.store(out + place, smoothed, mask=inside)


@triton.jit
def _slice_mean(line, number, first, step, size, inner, longest, inside):
    """Mean of a line over a slice, fractions of voxels included."""
    begin = tl.minimum(tl.maximum(first + number * step, 0.0), size * 1.0)
    end = tl.minimum(tl.maximum(first + (number + 1.0) * step, 0.0), size * 1.0)
    start = tl.minimum(begin.to(tl.int32), size - 1)
    stop = tl.minimum(end.to(tl.int32), size - 1)
    total = begin * 0.0
    for more in range(0, longest):
        voxel = start + more
        low = voxel.to(tl.float32)
        value = tl.load(line + voxel * inner, mask=inside & (voxel <= stop), other=0.0)
        total += value * (tl.minimum(low + 1.0, end) - tl.maximum(low, begin))
    return tl.math.div_rn(total, tl.maximum(end - begin, 1e-3))


@triton.jit
def _slices(image, thickness, start, out, count, size, inner, axis, BLOCK: tl.constexpr):
    row, index, inside, here = voxels_of_program(count, BLOCK)
    at = index // inner % size
    step = tl.load(thickness + row * 3 + axis)
    first = tl.minimum(tl.load(start + row * 3 + axis) * step, tl.maximum(size * 1.0 - 0.5 * step, 0.0))
    last = tl.floor(tl.math.div_rn(size * 1.0 - first, step) + 0.5) - 1.0
    last = tl.minimum(tl.maximum(last, 0.0), size - 1.0)
    place = tl.math.div_rn((at.to(tl.float32) + 0.5) - first, step + at.to(tl.float32) * 0.0) - 0.5
    place = tl.minimum(tl.maximum(place, 0.0), last)
    lower = tl.floor(place)
    share = place - lower
    voxels = tl.where(step == 1.0, 0, tl.minimum(tl.ceil(step), size * 1.0).to(tl.int32) + 1)
    line = image + here - at * inner
    low = _slice_mean(line, lower, first, step, size, inner, voxels, inside)
    high = _slice_mean(line, tl.minimum(lower + 1.0, last), first, step, size, inner, voxels, inside)
    near, far = low + share * (high - low), high - (high - low) * (1.0 - share)  # torch.lerp
    same = tl.load(image + here, mask=inside, other=0.0)
    found = tl.where(step == 1.0, same, tl.where(share < 0.5, near, far))
    tl.store(out + here, found, mask=inside)


def _along(
    kernel: Any, image: Tensor, axis: int, tables: Sequence[Tensor], numbers: Sequence[int] = ()
) -> Tensor:
    """Result of a kernel that filters contiguous volumes ``[B, 1, D, H, W]`` along axis 0, 1 or 2."""
    out = empty(image.shape, dtype=float32, device=image.device)
    count, size, inner = elements(image), image.shape[axis + 2], image.shape[axis + 3 :].numel()
    with on_device_of(image):
        kernel[programs(len(image), count, BLOCK)](
            image, *tables, out, count, size, inner, axis, *numbers, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def gaussian_filter(image: Tensor, sigma: Tensor, axis: int, taps: int) -> Tensor:
    """Blur contiguous volumes ``[B, 1, D, H, W]`` along axis 0, 1 or 2 with the widths ``sigma`` ``[B, 3]``.

    Args:
        image: ``[B, 1, D, H, W]``, contiguous.
        sigma: ``[B, 3]``, standard deviation along z, y, x, voxels.
        axis: 0, 1 or 2 for z, y or x.
        taps: half-width of the kernel, voxels.
    """
    return _along(_gaussian, image, axis, (sigma,), (taps,))


def smooth(image: Tensor, sides: Tensor, per_voxel: bool) -> Tensor:
    """Three taps along every axis of contiguous volumes ``[N, D, H, W]``.

    ``sides`` is ``[N]``, the weight of each neighbour, or, ``per_voxel``, ``[N, 3, D, H, W]``: fractions at which
    linear interpolation would keep as much white noise.

    Args:
        image: ``[N, D, H, W]``, contiguous.
        sides: ``[N]``, or ``[N, 3, D, H, W]`` in [0, 1), contiguous.
        per_voxel: whether ``sides`` has a fraction for each axis and voxel.
    """
    out = empty(image.shape, dtype=float32, device=image.device)
    count = elements(image)
    with on_device_of(image):
        _smooth[programs(len(image), count, BLOCK)](
            image,
            sides,
            out,
            count,
            *image.shape[1:],
            PER_VOXEL=per_voxel,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def thick_slices(image: Tensor, thickness: Tensor, start: Tensor, axis: int) -> Tensor:
    """Slice contiguous volumes ``[B, 1, D, H, W]`` along axis 0, 1 or 2; ``thickness`` and ``start`` are ``[B, 3]``.

    Args:
        image: ``[B, 1, D, H, W]``, contiguous.
        thickness: ``[B, 3]``, voxels along z, y, x, at least 1.
        start: ``[B, 3]`` in (-1/2, 1/2), distance of the first slice from the face, in thicknesses.
        axis: 0, 1 or 2 for z, y or x.
    """
    return _along(_slices, image, axis, (thickness, start))


_ALONG = {"image": "*fp32", "out": "*fp32", "count": "i32", "size": "i32", "inner": "i32", "axis": "i32"}
_VOLUME = {"image": "*fp32", "sides": "*fp32", "out": "*fp32", "count": "i32"} | dict.fromkeys(
    ("depth", "height", "width"), "i32"
)
SPECIALISATIONS = {
    "filters.gaussian": Specialisation(
        _gaussian, {**_ALONG, "sigma": "*fp32", "taps": "i32"}, {"BLOCK": BLOCK}
    ),
    "filters.slices": Specialisation(
        _slices, {**_ALONG, "thickness": "*fp32", "start": "*fp32"}, {"BLOCK": BLOCK}
    ),
    "filters.smooth": Specialisation(_smooth, _VOLUME, {"PER_VOXEL": False, "BLOCK": BLOCK}),
    "filters.smooth_at": Specialisation(_smooth, _VOLUME, {"PER_VOXEL": True, "BLOCK": BLOCK}),
}
