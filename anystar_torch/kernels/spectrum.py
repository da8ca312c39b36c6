"""Kernels of effects in k-space: a spectrum cut to a ball, and a plane wave added to a volume.

C++: ``csrc/spectrum.hpp``. Triton: ``triton/spectrum.py``. The functions ``torch_*`` are the references.
The cut is the same bits in all implementations; waves differ by at most 1e-5 of their amplitude in the tests.
"""

import math

import torch
from jaxtyping import Complex64, Float32, Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import like_first, run_native

Spectrum = Complex64[Tensor, "b 1 d h w"]
"""Discrete Fourier transform of a volume, zero frequency first."""


def cut_spectrum(spectrum: Spectrum, alpha: PerSample, recorded: PerSampleAxis) -> Spectrum:
    """The spectrum with 0 outside of a ball around the middle bin ``(n - 1) / 2`` of the centred spectrum.

    Args:
        spectrum: ``[B, 1, D, H, W]``.
        alpha: ``[B]`` in [0, 1]; the radius is ``1 - alpha`` times the longest axis over the square root of 2.
        recorded: ``[B, 3]``, size along z, y, x of the volume whose spectrum is cut, in sizes of this one.
    """
    if implementation(spectrum.device) == "torch":
        return torch_cut_spectrum(spectrum, alpha, recorded)
    return torch.view_as_complex(_cut_spectrum(torch.view_as_real(spectrum[:, 0]), alpha, recorded))[:, None]


@torch.library.custom_op("anystar::cut_spectrum", mutates_args=())
def _cut_spectrum(spectrum: Tensor, alpha: Tensor, recorded: Tensor) -> Tensor:
    """:func:`cut_spectrum` of real and imaginary parts ``[B, D, H, W, 2]``."""
    if implementation(spectrum.device) == "native":
        return run_native("cut_spectrum", spectrum, alpha, recorded)
    from anystar_torch.kernels.triton import spectrum as kernels

    return kernels.cut_spectrum(spectrum.contiguous(), alpha.contiguous(), recorded.contiguous())


def torch_cut_spectrum(spectrum: Spectrum, alpha: PerSample, recorded: PerSampleAxis) -> Spectrum:
    """The reference of :func:`cut_spectrum`.

    Arguments are those of :func:`cut_spectrum`.
    """
    shape = spectrum.shape[2:]
    sizes = [recorded[:, axis] * n for axis, n in enumerate(shape)]
    depth, height, width = (
        recorded[:, axis, None].square() * _squared_frequency(n, spectrum) for axis, n in enumerate(shape)
    )
    squared = depth[:, :, None, None] + (height[:, :, None] + width[:, None])[:, None]
    radius = (1.0 - alpha) * torch.maximum(torch.maximum(sizes[0], sizes[1]), sizes[2]) * math.sqrt(0.5)
    outside = squared[:, None] > per_voxel(radius * radius)
    return spectrum.masked_fill(outside, 0.0)


def _squared_frequency(size: int, like: Tensor) -> Float32[Tensor, " n"]:
    """Squared distance of every bin from the centre of the ball, in the order of a Fourier transform."""
    index = torch.arange(size, device=like.device)
    return (((index + size // 2) % size).to(torch.float32) - (size - 1) / 2).square()


def add_wave(image: Volume, frequency: Int64[Tensor, "b 3"], cosine: PerSample, sine: PerSample) -> Volume:
    """Add the real part of ``(cosine + i sine) exp(2 pi i (fz z / D + fy y / H + fx x / W))``.

    Args:
        image: ``[B, 1, D, H, W]``.
        frequency: ``[B, 3]``, periods per volume along z, y, x.
        cosine: ``[B]``, amplitude of the real part, in units of the image.
        sine: ``[B]``, amplitude of the imaginary part.
    """
    if implementation(image.device) == "torch":
        depth, height, width = image.shape[2:]
        return image + torch_wave(frequency, cosine, sine, (depth, height, width))[:, None]
    added: Volume = _add_wave(image, frequency, cosine, sine)
    return added


@torch.library.custom_op("anystar::add_wave", mutates_args=())
def _add_wave(image: Tensor, frequency: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("add_wave", image[:, 0], frequency, cosine, sine)[:, None]
    from anystar_torch.kernels.triton import spectrum

    return spectrum.add_wave(
        image.contiguous(), frequency.contiguous(), cosine.contiguous(), sine.contiguous()
    )


def torch_wave(
    frequency: Int64[Tensor, "b 3"], cosine: PerSample, sine: PerSample, shape: tuple[int, int, int]
) -> Float32[Tensor, "b d h w"]:
    """What :func:`add_wave` adds; its reference, a product of three one-dimensional waves.

    Args:
        frequency: ``[B, 3]``, periods per volume along z, y, x.
        cosine: ``[B]``, amplitude of the real part, in units of the image.
        sine: ``[B]``, amplitude of the imaginary part, in units of the image.
        shape: (D, H, W) of the volume, voxels.
    """
    (zr, zi), (yr, yi), (xr, xi) = (_turns(frequency[:, axis], n) for axis, n in enumerate(shape))
    xr, xi = xr * cosine[:, None] - xi * sine[:, None], xr * sine[:, None] + xi * cosine[:, None]
    yr, yi, xr, xi = yr[:, :, None], yi[:, :, None], xr[:, None], xi[:, None]
    real, imaginary = yr * xr - yi * xi, yr * xi + yi * xr
    out = zr[:, :, None, None] * real[:, None]
    return out.addcmul_(-zi[:, :, None, None], imaginary[:, None])


def _turns(
    frequency: Int64[Tensor, " b"], size: int
) -> tuple[Float32[Tensor, "b n"], Float32[Tensor, "b n"]]:
    """Cosine and sine of ``2 pi frequency x / size`` at x = 0 .. size - 1; the angle is reduced exactly."""
    turn = frequency[:, None] * torch.arange(size, device=frequency.device) % size
    angle = turn.to(torch.float32) * (2.0 * math.pi / size)
    return angle.cos(), angle.sin()


for _kernel in (_cut_spectrum, _add_wave):
    _kernel.register_fake(like_first)
