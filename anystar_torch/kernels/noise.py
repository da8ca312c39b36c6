"""Kernels of measurement noise: Rician, of a detector, and of a camera that counts photons.

C++: ``csrc/noise.hpp``. Triton: ``triton/noise.py``. The functions ``torch_*`` are the references.
Implementations differ by rounding, and by one photon where a quantile lies within rounding of a step.
"""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.intensities import Limits
from anystar_torch.kernels.native import equally_strided, like_first, run_native

_FEW = 4.0
"""Below this rate the exact sum of probabilities is used, above it the expansion."""
_TERMS = 17
"""Largest count that is told apart below that rate; a larger one has a probability of 1e-6."""


def rician_noise(image: Volume, std: PerSample, real: Volume, imaginary: Volume) -> Volume:
    """``sqrt((image + std * real)^2 + (std * imaginary)^2)``; a sample with ``std`` 0 keeps its bits.

    Args:
        image: ``[B, 1, D, H, W]``.
        std: ``[B]``, standard deviation of each channel.
        real: ``[B, 1, D, H, W]``, standard normal.
        imaginary: ``[B, 1, D, H, W]``, standard normal.
    """
    run = torch_rician_noise if implementation(image.device) == "torch" else _rician_noise
    magnitude: Volume = run(image, std, real, imaginary)
    return magnitude


@torch.library.custom_op("anystar::rician_noise", mutates_args=())
def _rician_noise(image: Tensor, std: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    real, imaginary = equally_strided(real, imaginary)
    if implementation(image.device) == "native":
        return run_native("rician_noise", image[:, 0], std, real[:, 0], imaginary[:, 0])[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.rician_noise(image.contiguous(), std.contiguous(), real, imaginary)


def torch_rician_noise(image: Volume, std: PerSample, real: Volume, imaginary: Volume) -> Volume:
    """The reference of :func:`rician_noise`.

    Arguments are those of :func:`rician_noise`.
    """
    width = per_voxel(std)
    noisy = torch.addcmul(image, width, real)
    quadrature = imaginary * width
    magnitude = noisy.mul_(noisy).add_(quadrature.mul_(quadrature)).sqrt_()
    return torch.where(width == 0.0, image, magnitude)


def detector_noise(image: Volume, widths: Float32[Tensor, "b 3"], field: Volume) -> Volume:
    """``clip(image + field * sqrt(additive^2 + (speckle * image)^2 + shot * image), 0, 1)`` where ``image > 0``.

    Voxels that are 0 or below, and samples whose widths are all 0, keep their bits.

    Args:
        image: ``[B, 1, D, H, W]`` in [0, 1].
        widths: ``[B, 3]``: additive standard deviation, relative standard deviation (speckle), variance of shot noise
            at intensity 1.
        field: ``[B, 1, D, H, W]``, standard normal.
    """
    run = torch_detector_noise if implementation(image.device) == "torch" else _detector_noise
    noisy: Volume = run(image, widths, field)
    return noisy


@torch.library.custom_op("anystar::detector_noise", mutates_args=())
def _detector_noise(image: Tensor, widths: Tensor, field: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("detector_noise", image[:, 0], widths, field[:, 0].contiguous())[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.detector_noise(image.contiguous(), widths.contiguous(), field.contiguous())


def torch_detector_noise(image: Volume, widths: Float32[Tensor, "b 3"], field: Volume) -> Volume:
    """The reference of :func:`detector_noise`.

    Arguments are those of :func:`detector_noise`.
    """
    additive, speckle, shot = (per_voxel(width) for width in widths.unbind(1))
    scaled = image * speckle
    variance = scaled.mul_(scaled).add_(additive * additive).add_(image.clamp(min=0.0).mul_(shot))
    noisy = torch.addcmul(image, variance.sqrt_(), field).clamp_(0.0, 1.0)
    noiseless = (additive == 0.0) & (speckle == 0.0) & (shot == 0.0)
    return torch.where(noiseless | (image <= 0.0), image, noisy)


def camera(
    image: Volume, limits: Limits, cameras: Float32[Tensor, "b 3"], shot: Volume, electronic: Volume
) -> Volume:
    """Count photons, add read noise, and scale back to the intensities of the image.

    Args:
        image: ``[B, 1, D, H, W]``.
        limits: ``[B, 2]``, the intensities of 0 photons and of ``photons`` photons.
        cameras: ``[B, 3]``: photons of the brightest voxel, photons of the background, read noise in electrons.
        shot: ``[B, 1, D, H, W]``, standard normal.
        electronic: ``[B, 1, D, H, W]``, standard normal.
    """
    run = torch_camera if implementation(image.device) == "torch" else _camera
    recorded: Volume = run(image, limits, cameras, shot, electronic)
    return recorded


@torch.library.custom_op("anystar::camera", mutates_args=())
def _camera(image: Tensor, limits: Tensor, cameras: Tensor, shot: Tensor, electronic: Tensor) -> Tensor:
    shot, electronic = equally_strided(shot, electronic)
    if implementation(image.device) == "native":
        return run_native("camera", image[:, 0], limits, cameras, shot[:, 0], electronic[:, 0])[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.camera(image.contiguous(), limits.contiguous(), cameras.contiguous(), shot, electronic)


def torch_camera(
    image: Volume, limits: Limits, cameras: Float32[Tensor, "b 3"], shot: Volume, electronic: Volume
) -> Volume:
    """The reference of :func:`camera`.

    Arguments are those of :func:`camera`.
    """
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    span = high - low
    photons, background, read = cameras.unbind(1)
    photons, background = per_voxel(photons), per_voxel(background)
    rate = ((image - low) / torch.where(span == 0.0, 1.0, span)).mul_(photons).add_(background)
    counts = torch_poisson(rate, shot).addcmul_(per_voxel(read), electronic)
    return counts.sub_(background).div_(photons).mul_(span).add_(low)


def torch_poisson(rate: Volume, normal: Volume) -> Volume:
    """Poisson counts as a function of a standard normal field: the quantile function at the field's quantile.

    Below 4 photons the count is exact: the least one whose cumulative probability reaches the quantile. Above, it is
    the rounded Cornish-Fisher expansion to third order, whose cumulative probability is off by at most 0.0006.
    ``torch.poisson`` would draw from a generator; then a sample would not be a function of its id.

    Args:
        rate: ``[B, 1, D, H, W]``, expected counts, not negative.
        normal: ``[B, 1, D, H, W]``, standard normal.
    """
    many_rate = rate.clamp(min=_FEW)
    variance = many_rate - 1.0 / 12.0  # rounding to whole counts adds the twelfth again
    root, ratio = variance.sqrt(), many_rate / variance
    squared = normal * normal
    third = ((squared - 3.0) / 24.0 - ratio * (2.0 * squared - 5.0) / 36.0).mul_(normal)
    expansion = many_rate + root * normal + ((squared - 1.0) / 6.0 + third / root).mul_(ratio)
    many = (expansion + 0.5).floor_().clamp_(min=0.0)
    few_rate = rate.clamp(max=_FEW)
    quantile = 0.5 * torch.erfc(normal * -math.sqrt(0.5))
    chance = (-few_rate).exp_()
    total = chance.clone()
    few = (quantile > total).to(torch.float32)
    for count in range(1, _TERMS):
        chance.mul_(few_rate).div_(float(count))
        total.add_(chance)
        few.add_(quantile > total)
    return torch.where(rate < _FEW, few, many)


for _kernel in (_rician_noise, _detector_noise, _camera):
    _kernel.register_fake(like_first)
