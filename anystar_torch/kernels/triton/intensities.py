"""Effects on single voxels on a GPU: bias field, power law, response curve, rescaling, holes (as in ``csrc/``)."""

import triton
import triton.language as tl
from torch import Tensor, empty, empty_like, float32

from anystar_torch.kernels.triton.lanes import voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = 1024


@triton.jit
def _legendre(degree: tl.constexpr, x):
    if degree == 0:
        return x * 0.0 + 1.0
    elif degree == 1:
        return x
    elif degree == 2:
        return 1.5 * (x * x) - 0.5
    else:
        return (2.5 * (x * x) - 1.5) * x


@triton.jit
def _position(index, size, extent):
    """Positions of the voxels of an axis, from -extent to +extent."""
    step = tl.math.div_rn(2.0, tl.maximum(size - 1, 1) * 1.0)
    back = 1.0 - (size - 1 - index).to(tl.float32) * step
    return extent * tl.where(2 * index < size, index.to(tl.float32) * step - 1.0, back)


@triton.jit
def _bias_field(image, coefficients, extent, out, count, depth, height, width, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    x = _position(index % width, width, tl.load(extent + row * 3 + 2))
    y = _position(index // width % height, height, tl.load(extent + row * 3 + 1))
    z = _position(index // (width * height), depth, tl.load(extent + row * 3))
    exponent = x * 0.0
    weight = coefficients + row * 20
    for i in tl.static_range(4):
        for j in tl.static_range(4 - i):
            plane = _legendre(i, z) * _legendre(j, y)
            for k in tl.static_range(4 - i - j):
                exponent += tl.load(weight) * (plane * _legendre(k, x))
                weight += 1
    value = tl.load(image + place, mask=inside, other=0.0)
    tl.store(out + place, value * tl.exp(tl.where(inside, exponent, 0.0)), mask=inside)


@triton.jit
def _contrast(image, limits, gamma, headroom, out, count, BLOCK: tl.constexpr):
    row, _, inside, place = voxels_of_program(count, BLOCK)
    low = tl.load(limits + row * 2)
    span = (tl.load(limits + row * 2 + 1) - low) * (1.0 + tl.load(headroom + row))
    power = tl.load(gamma + row)
    value = tl.load(image + place, mask=inside, other=0.0)
    share = (value - low) / (span + 1e-7)
    raised = tl.exp(tl.log(tl.maximum(share, 1.1754944e-38)) * power)
    changed = tl.where(share > 0.0, raised, 0.0) * span + low
    tl.store(out + place, tl.where(power == 1.0, value, changed), mask=inside)


@triton.jit
def _to_unit(image, limits, out, count, BLOCK: tl.constexpr):
    row, _, inside, place = voxels_of_program(count, BLOCK)
    low, high = tl.load(limits + row * 2), tl.load(limits + row * 2 + 1)
    value = tl.load(image + place, mask=inside, other=0.0)
    span = tl.where(high > low, high - low, 1.0)
    share = tl.math.div_rn(value - low, span + value * 0.0)
    tl.store(out + place, tl.minimum(tl.maximum(share, 0.0), 1.0), mask=inside)


@triton.jit
def _histogram_shift(image, limits, response, out, count, points, BLOCK: tl.constexpr):
    row, _, inside, place = voxels_of_program(count, BLOCK)
    low = tl.load(limits + row * 2)
    span = tl.load(limits + row * 2 + 1) - low
    value = tl.load(image + place, mask=inside, other=0.0)
    at = (value - low) / tl.where(span == 0.0, 1.0, span) * (points - 1.0)
    piece = tl.minimum(tl.maximum(at, 0.0), points - 2.0).to(tl.int32)
    curve = response + row * points + piece
    start = tl.load(curve, mask=inside, other=0.0)
    step = tl.load(curve + 1, mask=inside, other=0.0) - start
    tl.store(out + place, (start + (at - piece.to(tl.float32)) * step) * span + low, mask=inside)


@triton.jit
def _cut_holes(
    image, labels, corner, size, cut, cut_labels, count, height, width, holes, BLOCK: tl.constexpr
):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    x, y, z = index % width, index // width % height, index // (width * height)
    edge = tl.load(size + row)
    hole = index < 0
    for n in range(0, holes):
        at = corner + (row * holes + n) * 3
        low_z, low_y, low_x = tl.load(at), tl.load(at + 1), tl.load(at + 2)
        along_z = (z >= low_z) & (z < low_z + edge)
        along_y = (y >= low_y) & (y < low_y + edge)
        hole |= along_z & along_y & (x >= low_x) & (x < low_x + edge)
    value, label = (
        tl.load(image + place, mask=inside, other=0.0),
        tl.load(labels + place, mask=inside, other=0),
    )
    tl.store(cut + place, tl.where(hole, 0.0, value), mask=inside)
    tl.store(cut_labels + place, tl.where(hole, 0, label), mask=inside)


def bias_field(image: Tensor, coefficients: Tensor, extent: Tensor) -> Tensor:
    """Multiply contiguous ``[B, 1, D, H, W]`` by a bias field; ``coefficients`` ``[B, 20]``, ``extent`` ``[B, 3]``.

    Arguments are those of :func:`anystar_torch.kernels.intensities.bias_field`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _bias_field[programs(len(image), count, BLOCK)](
            image, coefficients, extent, out, count, *image.shape[2:], BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def contrast(image: Tensor, limits: Tensor, gamma: Tensor, headroom: Tensor) -> Tensor:
    """Apply a power law to contiguous volumes; ``limits`` ``[B, 2]``, ``gamma``, ``headroom`` ``[B]``.

    Arguments are those of :func:`anystar_torch.kernels.intensities.contrast`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _contrast[programs(len(image), count, BLOCK)](
            image, limits, gamma, headroom, out, count, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def to_unit(image: Tensor, limits: Tensor) -> Tensor:
    """Map the ``limits`` ``[B, 2]`` of contiguous volumes to 0 and 1, and clip.

    Arguments are those of :func:`anystar_torch.kernels.intensities.to_unit`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _to_unit[programs(len(image), count, BLOCK)](
            image, limits, out, count, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def histogram_shift(image: Tensor, limits: Tensor, response: Tensor) -> Tensor:
    """Map contiguous volumes, relative to their ``limits`` ``[B, 2]``, by the curve ``response`` ``[B, N]``.

    Arguments are those of :func:`anystar_torch.kernels.intensities.response_curve`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _histogram_shift[programs(len(image), count, BLOCK)](
            image, limits, response, out, count, response.shape[1], BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def cut_holes(image: Tensor, labels: Tensor, corner: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Set cubes to 0 in contiguous image and labels; ``corner`` int64 ``[B, N, 3]``, ``size`` int64 ``[B]``.

    Arguments are those of :func:`anystar_torch.kernels.intensities.cut_holes`.
    """
    cut, cut_labels, count = empty_like(image), empty_like(labels), elements(image)
    with on_device_of(image):
        _cut_holes[programs(len(image), count, BLOCK)](
            image,
            labels,
            corner,
            size,
            cut,
            cut_labels,
            count,
            *image.shape[3:],
            corner.shape[1],
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return cut, cut_labels


_IMAGE = {"image": "*fp32", "out": "*fp32", "count": "i32"}
_SIZES = dict.fromkeys(("depth", "height", "width"), "i32")
SPECIALISATIONS = {
    f"intensities.{name}": Specialisation(kernel, types, {"BLOCK": BLOCK})
    for name, kernel, types in (
        ("bias_field", _bias_field, {**_IMAGE, **_SIZES, "coefficients": "*fp32", "extent": "*fp32"}),
        (
            "contrast",
            _contrast,
            {**_IMAGE, "limits": "*fp32", "gamma": "*fp32", "headroom": "*fp32"},
        ),
        ("to_unit", _to_unit, {**_IMAGE, "limits": "*fp32"}),
        (
            "histogram_shift",
            _histogram_shift,
            {**_IMAGE, "limits": "*fp32", "response": "*fp32", "points": "i32"},
        ),
        (
            "cut_holes",
            _cut_holes,
            {"image": "*fp32", "labels": "*i32", "corner": "*i64", "size": "*i64", "cut": "*fp32"}
            | {"cut_labels": "*i32"}
            | dict.fromkeys(("count", "height", "width", "holes"), "i32"),
        ),
    )
}
