"""Kernels that filter a volume along each axis: Gaussian, thick slices, and three taps.

C++: ``csrc/filters.hpp``, ``csrc/slices.hpp``. Triton: ``triton/filters.py``. The functions ``torch_*`` are the
references. Three taps for whole channels are the same bits in all implementations; the others differ by rounding, at
most 1e-5 of the image's range in the tests.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import like_first, run_native

TRUNCATED = 4.0
"""Gaussian kernels end at this many standard deviations, rounded to voxels (MONAI's choice)."""

Channels = Float32[Tensor, "b c d h w"]


def gaussian_filter(image: Volume, sigma: PerSampleAxis, taps: int) -> Volume:
    """Convolve with a Gaussian integrated over voxels; beyond its faces the image continues as at them.

    Args:
        image: ``[B, 1, D, H, W]``.
        sigma: ``[B, 3]``, standard deviation along z, y, x, voxels; 0 leaves that axis unchanged.
        taps: half-width of the kernel, voxels; wider tails are cut.
    """
    if implementation(image.device) == "torch":
        return torch_gaussian_filter(image, sigma, taps)
    for axis in range(3):
        image = _gaussian_filter(image, sigma, axis, taps)
    return image


@torch.library.custom_op("anystar::gaussian_filter", mutates_args=())
def _gaussian_filter(image: Tensor, sigma: Tensor, axis: int, taps: int) -> Tensor:
    """One axis of :func:`gaussian_filter`; the kernels compute the weights themselves."""
    if implementation(image.device) == "native":
        return run_native("gaussian_filter", image[:, 0], sigma, axis, taps)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.gaussian_filter(image.contiguous(), sigma.contiguous(), axis, taps)


def torch_gaussian_filter(image: Volume, sigma: PerSampleAxis, taps: int) -> Volume:
    """The reference of :func:`gaussian_filter`.

    Arguments are those of :func:`gaussian_filter`.
    """
    kernels = gaussian_kernels(sigma, taps)
    for axis in range(3):
        image = _convolve(image, kernels[:, axis], axis + 2)
    return image


def gaussian_kernels(sigma: PerSampleAxis, taps: int) -> Float32[Tensor, "b 3 taps"]:
    """One side of the symmetric kernels, centre first: ``[B, 3, taps + 1]``.

    Args:
        sigma: ``[B, 3]``, standard deviation along z, y, x, voxels.
        taps: half-width of the kernels, voxels.
    """
    position = torch.arange(taps + 1, dtype=torch.float32, device=sigma.device)
    scale = 0.70710678 / sigma[:, :, None]
    kernel = 0.5 * (torch.erf((position + 0.5) * scale) - torch.erf((position - 0.5) * scale))
    last = (sigma[:, :, None] * TRUNCATED).clamp_(min=0.5).add_(0.5).floor_()
    return torch.where(position <= last, kernel, 0.0)


def _convolve(image: Volume, kernel: Float32[Tensor, "b taps"], axis: int) -> Volume:
    """Sum of shifted copies. The rounding of a grouped convolution would depend on the batch."""
    taps, size = kernel.shape[1] - 1, image.shape[axis]
    padding = [0] * 6
    padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = taps
    padded = F.pad(image, padding, mode="replicate")
    weights = kernel[:, :, None, None, None, None].unbind(1)
    out = image * weights[0]
    for tap in range(1, taps + 1):
        sides = padded.narrow(axis, taps - tap, size) + padded.narrow(axis, taps + tap, size)
        out.addcmul_(sides, weights[tap])
    return out


def thick_slices(image: Volume, thickness: PerSampleAxis, start: PerSampleAxis) -> Volume:
    """Means over slices along each axis, interpolated linearly between the centres of the slices.

    Args:
        image: ``[B, 1, D, H, W]``.
        thickness: ``[B, 3]``, voxels along z, y, x, at least 1; 1 leaves that axis unchanged.
        start: ``[B, 3]`` in (-1/2, 1/2), distance of the first slice from the face, in thicknesses. A slice thicker
            than the volume begins so early that half of it, or the whole volume, is inside.
    """
    if implementation(image.device) == "torch":
        return torch_thick_slices(image, thickness, start)
    for axis in range(3):
        image = _thick_slices(image, thickness, start, axis)
    return image


@torch.library.custom_op("anystar::thick_slices", mutates_args=())
def _thick_slices(image: Tensor, thickness: Tensor, start: Tensor, axis: int) -> Tensor:
    """One axis of :func:`thick_slices`."""
    if implementation(image.device) == "native":
        return run_native("thick_slices", image[:, 0], thickness, start, axis)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.thick_slices(image.contiguous(), thickness.contiguous(), start.contiguous(), axis)


def torch_thick_slices(image: Volume, thickness: PerSampleAxis, start: PerSampleAxis) -> Volume:
    """The reference of :func:`thick_slices`.

    Arguments are those of :func:`thick_slices`.
    """
    for axis in range(3):
        moved = image.movedim(axis + 2, 4)
        sliced = _slices_along_last(moved, thickness[:, axis], start[:, axis]).movedim(4, axis + 2)
        image = torch.where((thickness[:, axis] == 1.0)[:, None, None, None, None], image, sliced)
    return image


def _slices_along_last(image: Volume, thickness: PerSample, start: PerSample) -> Volume:
    size = image.shape[4]
    latest = (size - 0.5 * thickness).clamp_(
        min=0.0
    )  # half of the first slice, or the whole volume, is inside
    step, first = thickness[:, None], torch.minimum(start * thickness, latest)[:, None]
    index = torch.arange(size + 1, dtype=torch.float32, device=image.device)
    edges = (first + index * step).clamp_(0.0, float(size))
    voxel = edges.to(torch.int64).clamp_(max=size - 1)
    inclusive = image.cumsum(4)
    here, before = _along_last(image, voxel), _along_last(inclusive, voxel)
    integral = before.sub_(here).addcmul_(here, (edges - voxel)[:, None, None, None])
    width = edges.diff(dim=1).clamp_(min=1e-3)[:, None, None, None]
    slices = integral.diff(dim=4) / width
    # a slice less than half inside the volume is left out; one always stays
    last = ((size - first) / step + 0.5).floor_().sub_(1.0).clamp_(0.0, size - 1.0)
    place = ((index[:size] + 0.5 - first) / step - 0.5).clamp_(min=0.0).minimum(last)
    lower = place.to(torch.int64)
    upper = (lower + 1).minimum(last.to(torch.int64))
    low, high = _along_last(slices, lower), _along_last(slices, upper)
    return torch.lerp(low, high, (place - lower)[:, None, None, None])


def _along_last(
    values: Float32[Tensor, "b 1 d h _"], index: Int64[Tensor, "b n"]
) -> Float32[Tensor, "b 1 d h n"]:
    """Values of each sample at its own positions of the last axis."""
    wanted = index[:, None, None, None].expand(*values.shape[:4], index.shape[1])
    return values.gather(4, wanted)


def smooth(image: Channels, sides: Float32[Tensor, "b c 1 1 1"]) -> Channels:
    """Filter with the taps (a, 1 - 2a, a) along each axis; the image continues beyond its faces as at them.

    Args:
        image: ``[B, C, D, H, W]``.
        sides: ``[B, C, 1, 1, 1]``, the tap a of each channel.
    """
    if implementation(image.device) == "torch":
        return torch_smooth(image, sides)
    smoothed: Tensor = _smooth(image.flatten(0, 1), sides.flatten())
    return smoothed.view(image.shape)


@torch.library.custom_op("anystar::smooth", mutates_args=())
def _smooth(volumes: Tensor, sides: Tensor) -> Tensor:
    """Three taps along every axis of volumes ``[N, D, H, W]``; ``sides`` ``[N]``."""
    if implementation(volumes.device) == "native":
        return run_native("smooth", volumes, sides)
    from anystar_torch.kernels.triton import filters

    return filters.smooth(volumes.contiguous(), sides.contiguous(), per_voxel=False)


def torch_smooth(image: Channels, sides: Float32[Tensor, "b n p q r"]) -> Channels:
    """The reference of :func:`smooth` and, with a tap for each axis and voxel, of :func:`smooth_noise`.

    Args:
        image: ``[B, C, D, H, W]``.
        sides: ``[B, C, 1, 1, 1]``, a tap for each channel; or ``[B, 3, D, H, W]``, a tap for each axis and voxel.
    """
    per_axis = sides.shape[1:] != (image.shape[1], 1, 1, 1)
    for axis in (2, 3, 4):
        side = sides[:, axis - 2 : axis - 1] if per_axis else sides
        n = image.shape[axis]
        before = torch.cat([image.narrow(axis, 0, 1), image.narrow(axis, 0, n - 1)], dim=axis)
        after = torch.cat([image.narrow(axis, 1, n - 1), image.narrow(axis, n - 1, 1)], dim=axis)
        image = before.add_(after).sub_(image).sub_(image).mul_(side).add_(image)
    return image


def smooth_noise(image: Volume, fraction: Float32[Tensor, "b 3 d h w"]) -> Volume:
    """White noise as linear interpolation between voxels would leave it; no voxel moves.

    Three taps whose weights keep as much of the variance as interpolation does, see :func:`noise_side_taps`.

    Args:
        image: ``[B, 1, D, H, W]``.
        fraction: ``[B, 3, D, H, W]`` in [0, 1), position between voxels at which each voxel would be interpolated.
    """
    if implementation(image.device) == "torch":
        return torch_smooth(image, noise_side_taps(fraction))
    smoothed: Volume = _smooth_noise(image, fraction)
    return smoothed


@torch.library.custom_op("anystar::smooth_noise", mutates_args=())
def _smooth_noise(image: Tensor, fraction: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("smooth_at", image[:, 0], fraction)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.smooth(image[:, 0].contiguous(), fraction.contiguous(), per_voxel=True)[:, None]


def noise_side_taps(fraction: Float32[Tensor, "b 3 d h w"]) -> Float32[Tensor, "b 3 d h w"]:
    """The tap a of (a, 1 - 2a, a) that keeps as much white noise as interpolation at ``fraction``.

    Interpolation keeps ``(1 - f)^2 + f^2`` of the variance, the taps keep ``1 - 4a + 6a^2``.

    Args:
        fraction: ``[B, 3, D, H, W]`` in [0, 1).
    """
    return (1.0 - (1.0 - 3.0 * fraction * (1.0 - fraction)).sqrt()).mul_(1.0 / 3.0)


for _kernel in (_gaussian_filter, _thick_slices, _smooth, _smooth_noise):
    _kernel.register_fake(like_first)
