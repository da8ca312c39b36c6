"""Kernels that change each voxel by its own value: intensity curves, a bias field, holes; and ranges of intensity.

C++: ``csrc/intensities.hpp``. Triton: ``triton/intensities.py``. The functions ``torch_*`` are the references.
Holes are the same bits in all implementations; images differ by rounding, at most 1e-5 of their range in the tests.
"""

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import like_first, run_native

LEGENDRE_DEGREES = tuple((i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j))
"""Degrees along (z, y, x) of the 20 products of Legendre polynomials of total degree 3 or less."""

QUANTILE_STRIDE = 7
"""Quantiles are those of every seventh voxel. The stride is odd, so that every row takes part. Sorting all voxels would
cost more than any effect."""

Limits = Float32[Tensor, "b 2"]
"""Two intensities of each sample, for example its minimum and its maximum."""


def intensity_limits(image: Volume) -> Limits:
    """Minimum and maximum of each sample, ``[B, 2]``.

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    if image.device.type == "cpu":  # torch.aminmax handles one element at a time there
        return torch.stack([image.amin((1, 2, 3, 4)), image.amax((1, 2, 3, 4))], dim=1)
    return torch.stack(torch.aminmax(image.flatten(1), dim=1), dim=1)


def to_unit(image: Volume, limits: Limits) -> Volume:
    """Map two values of each sample to 0 and 1 and clip; where both are the same, the result is 0.

    Args:
        image: ``[B, 1, D, H, W]``.
        limits: ``[B, 2]``, the values that become 0 and 1.
    """
    run = torch_to_unit if implementation(image.device) == "torch" else _to_unit
    mapped: Volume = run(image, limits)
    return mapped


@torch.library.custom_op("anystar::to_unit", mutates_args=())
def _to_unit(image: Tensor, limits: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("to_unit", image[:, 0], limits)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.to_unit(image.contiguous(), limits.contiguous())


def torch_to_unit(image: Volume, limits: Limits) -> Volume:
    """The reference of :func:`to_unit`.

    Arguments are those of :func:`to_unit`.
    """
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    return ((image - low) / torch.where(high > low, high - low, 1.0)).clamp_(0.0, 1.0)


def lattice_quantiles(image: Volume, dark: PerSample, bright: PerSample) -> Limits:
    """Quantiles ``dark`` and ``1 - bright`` of every :data:`QUANTILE_STRIDE`-th voxel, ``[B, 2]``.

    There is no Triton kernel: a GPU sorts.

    Args:
        image: ``[B, 1, D, H, W]``.
        dark: ``[B]``, share of voxels in [0, 1/2).
        bright: ``[B]``, share of voxels in [0, 1/2).
    """
    run = _lattice_quantiles if implementation(image.device) == "native" else torch_lattice_quantiles
    quantiles: Limits = run(image, dark, bright)
    return quantiles


@torch.library.custom_op("anystar::lattice_quantiles", mutates_args=())
def _lattice_quantiles(image: Tensor, dark: Tensor, bright: Tensor) -> Tensor:
    from anystar_torch.kernels import _native

    limits, shares = (
        torch.empty(len(image), 2, dtype=torch.float32),
        (dark.contiguous().numpy(), bright.contiguous().numpy()),
    )
    volumes = image[:, 0].contiguous().numpy()
    _native.lattice_quantiles(volumes, QUANTILE_STRIDE, *shares, limits.numpy(), torch.get_num_threads())
    return limits


@_lattice_quantiles.register_fake
def _(image: Tensor, dark: Tensor, bright: Tensor) -> Tensor:
    return image.new_empty(len(image), 2)


def torch_lattice_quantiles(image: Volume, dark: PerSample, bright: PerSample) -> Limits:
    """The reference of :func:`lattice_quantiles`.

    Arguments are those of :func:`lattice_quantiles`.
    """
    ordered = image.flatten(1)[:, ::QUANTILE_STRIDE].sort(dim=1).values
    last = ordered.shape[1] - 1
    place = torch.stack([dark, 1.0 - bright], dim=1) * last
    # float32 rounds the last place of more than 2^24 values, upwards too
    return ordered.gather(1, place.round().to(torch.int64).clamp_(max=last))


def contrast(image: Volume, limits: Limits, gamma: PerSample, headroom: PerSample) -> Volume:
    """``low + span ((image - low) / span)^gamma`` with ``span = (high - low) (1 + headroom)``.

    Args:
        image: ``[B, 1, D, H, W]``.
        limits: ``[B, 2]``, low and high.
        gamma: ``[B]``, positive; 1 leaves a sample unchanged.
        headroom: ``[B]``, not negative.
    """
    run = torch_contrast if implementation(image.device) == "torch" else _contrast
    adjusted: Volume = run(image, limits, gamma, headroom)
    return adjusted


@torch.library.custom_op("anystar::contrast", mutates_args=())
def _contrast(image: Tensor, limits: Tensor, gamma: Tensor, headroom: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("contrast", image[:, 0], limits, gamma, headroom)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.contrast(
        image.contiguous(), limits.contiguous(), gamma.contiguous(), headroom.contiguous()
    )


def torch_contrast(image: Volume, limits: Limits, gamma: PerSample, headroom: PerSample) -> Volume:
    """The reference of :func:`contrast`.

    Arguments are those of :func:`contrast`.
    """
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    span = (high - low) * (1.0 + per_voxel(headroom))
    # exp(gamma log x) and not pow: pow on the CPU rounds differently in the last elements of a tensor.
    out = ((image - low) / (span + 1e-7)).log_().mul_(per_voxel(gamma)).exp_().mul_(span).add_(low)
    return torch.where(per_voxel(gamma) == 1.0, image, out)


def response_curve(image: Volume, limits: Limits, response: Float32[Tensor, "b n"]) -> Volume:
    """Map intensities, relative to a range, through a piecewise linear curve.

    Args:
        image: ``[B, 1, D, H, W]``.
        limits: ``[B, 2]``, the range.
        response: ``[B, N]``, values of the curve at 0, 1/(N-1), ..., 1 of the range, as shares of the range.
    """
    run = torch_response_curve if implementation(image.device) == "torch" else _histogram_shift
    mapped: Volume = run(image, limits, response)
    return mapped


@torch.library.custom_op("anystar::histogram_shift", mutates_args=())
def _histogram_shift(image: Tensor, limits: Tensor, response: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("histogram_shift", image[:, 0], limits, response)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.histogram_shift(image.contiguous(), limits.contiguous(), response.contiguous())


def torch_response_curve(image: Volume, limits: Limits, response: Float32[Tensor, "b n"]) -> Volume:
    """The reference of :func:`response_curve`.

    Arguments are those of :func:`response_curve`.
    """
    pieces = response.shape[1] - 1
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    span = high - low
    place = ((image - low) / torch.where(span == 0.0, 1.0, span)).mul_(float(pieces)).flatten(1)
    piece = place.to(torch.int64).clamp_(0, pieces - 1)
    start, step = response.gather(1, piece), response.diff(dim=1).gather(1, piece)
    return start.addcmul_(place.sub_(piece), step).view_as(image).mul_(span).add_(low)


def bias_field(image: Volume, coefficients: Float32[Tensor, "b 20"], extent: PerSampleAxis) -> Volume:
    """Multiply by the exponential of a sum of products of Legendre polynomials of position.

    Args:
        image: ``[B, 1, D, H, W]``.
        coefficients: ``[B, 20]``, of the products with the degrees :data:`LEGENDRE_DEGREES`.
        extent: ``[B, 3]``; position runs from -extent to +extent along z, y, x.
    """
    run = torch_bias_field if implementation(image.device) == "torch" else _bias_field
    biased: Volume = run(image, coefficients, extent)
    return biased


@torch.library.custom_op("anystar::bias_field", mutates_args=())
def _bias_field(image: Tensor, coefficients: Tensor, extent: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("bias_field", image[:, 0], coefficients, extent)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.bias_field(image.contiguous(), coefficients.contiguous(), extent.contiguous())


def torch_bias_field(image: Volume, coefficients: Float32[Tensor, "b 20"], extent: PerSampleAxis) -> Volume:
    """The reference of :func:`bias_field`.

    Arguments are those of :func:`bias_field`.
    """
    depth, height, width = (
        _legendre(
            extent[:, axis, None] * torch.linspace(-1.0, 1.0, n, dtype=torch.float32, device=image.device)
        )
        for axis, n in enumerate(image.shape[2:])
    )
    columns = dict(zip(LEGENDRE_DEGREES, coefficients[:, :, None].unbind(1), strict=True))
    exponent = torch.zeros_like(image[:, 0])
    for i in range(4):  # innermost axis first: only the last sum is over all voxels
        plane = torch.zeros_like(image[:, 0, 0])
        for j in range(4 - i):
            row = sum((columns[i, j, k] * width[k] for k in range(4 - i - j)), torch.zeros_like(width[0]))
            plane = plane + height[j][:, :, None] * row[:, None]
        exponent.addcmul_(depth[i][:, :, None, None], plane[:, None])
    return image * exponent[:, None].exp()


def _legendre(x: Float32[Tensor, "b n"]) -> tuple[Tensor, ...]:
    """Legendre polynomials of degree 0 to 3 at ``x``."""
    square = x * x
    return torch.ones_like(x), x, 1.5 * square - 0.5, (2.5 * square - 1.5) * x


def cut_holes(
    image: Volume, labels: Labels, corner: Int64[Tensor, "b n 3"], size: Int64[Tensor, " b"]
) -> tuple[Volume, Labels]:
    """Set cubes to 0 in image and labels.

    Args:
        image: ``[B, 1, D, H, W]``.
        labels: ``[B, 1, D, H, W]``.
        corner: ``[B, N, 3]``, the lowest (z, y, x) of each cube, voxels; at most 31 cubes.
        size: ``[B]``, edge of the cubes, voxels.
    """
    run = torch_cut_holes if implementation(image.device) == "torch" else _cut_holes
    cut, cut_labels = run(image, labels, corner, size)
    return cut, cut_labels


@torch.library.custom_op("anystar::cut_holes", mutates_args=())
def _cut_holes(image: Tensor, labels: Tensor, corner: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    if implementation(image.device) == "native":
        from anystar_torch.kernels import _native

        cut = image.clone(memory_format=torch.contiguous_format)
        cut_labels = labels.clone(memory_format=torch.contiguous_format)
        for field in (cut, cut_labels):
            holes = corner.contiguous().numpy(), size.contiguous().numpy()
            _native.cut_holes(field[:, 0].numpy(), *holes, torch.get_num_threads())
        return cut, cut_labels
    from anystar_torch.kernels.triton import intensities

    return intensities.cut_holes(
        image.contiguous(), labels.contiguous(), corner.contiguous(), size.contiguous()
    )


@_cut_holes.register_fake
def _(image: Tensor, labels: Tensor, corner: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    return image.new_empty(image.shape), labels.new_empty(labels.shape)


def torch_cut_holes(
    image: Volume, labels: Labels, corner: Int64[Tensor, "b n 3"], size: Int64[Tensor, " b"]
) -> tuple[Volume, Labels]:
    """The reference of :func:`cut_holes`.

    Arguments are those of :func:`cut_holes`.
    """
    depth, height, width = (
        _membership(corner[:, :, axis], size, n) for axis, n in enumerate(image.shape[2:])
    )
    plane = height[:, :, None] & width[:, None]
    hole = ((depth[:, :, None, None] & plane[:, None]) != 0)[:, None]
    return image.masked_fill(hole, 0.0), labels.masked_fill(hole, 0)


def _membership(
    corner: Int64[Tensor, "b n"], size: Int64[Tensor, " b"], length: int
) -> Int32[Tensor, "b length"]:
    """A word for every position of an axis; its bit n says whether cube n covers the position."""
    offset = torch.arange(length, device=corner.device) - corner[:, :, None]
    inside = (offset >= 0) & (offset < size[:, None, None])
    bit = torch.arange(corner.shape[1], device=corner.device)
    return (inside.to(torch.int32) << bit[:, None].to(torch.int32)).sum(1, dtype=torch.int32)


for _kernel in (_to_unit, _contrast, _histogram_shift, _bias_field):
    _kernel.register_fake(like_first)
