"""Noise as a function of standard normal fields on a GPU: camera, Rician, detector (see ``csrc/noise.hpp``)."""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.lanes import lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = lanes(512, 1 << 15)


@triton.jit
def _exact_count(rate, normal):
    """The least count whose cumulative Poisson probability reaches the quantile of ``normal``; rates below 4."""
    quantile = 0.5 + 0.5 * tl.erf(normal * 0.70710678)
    chance = tl.exp(-rate)
    total = chance
    count = rate * 0.0
    for k in tl.static_range(1, 18):
        count += tl.where(quantile > total, 1.0, 0.0)
        chance *= rate / (k * 1.0)
        total += chance
    return count


@triton.jit
def _expanded_count(rate, normal):
    """Cornish-Fisher expansion of Poisson's quantile to third order, rounded; rates from 4."""
    variance = rate - 0.08333333333333333
    root, ratio, squared = tl.sqrt(variance), rate / variance, normal * normal
    cubic = (squared - 3.0) * 0.041666666666666664 - ratio * (2.0 * squared - 5.0) * 0.027777777777777776
    second = (squared - 1.0) * 0.16666666666666666 + cubic * normal / root
    return tl.floor(tl.maximum((rate + root * normal) + second * ratio + 0.5, 0.0))


@triton.jit
def _camera(image, limits, cameras, shot, electronic, out, count, stride, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    low = tl.load(limits + row * 2)
    span = tl.load(limits + row * 2 + 1) - low
    photons, background = tl.load(cameras + row * 3), tl.load(cameras + row * 3 + 1)
    read = tl.load(cameras + row * 3 + 2)
    value = tl.load(image + place, mask=inside, other=0.0)
    normal = tl.load(shot + row * stride + index, mask=inside, other=0.0)
    electron = tl.load(electronic + row * stride + index, mask=inside, other=0.0)
    rate = (value - low) / tl.where(span == 0.0, 1.0, span) * photons + background
    few = _exact_count(tl.maximum(tl.minimum(rate, 4.0), 0.0), normal)
    counts = tl.where(rate < 4.0, few, _expanded_count(tl.maximum(rate, 4.0), normal))
    recorded = ((counts + read * electron) - background) / photons * span + low
    tl.store(out + place, recorded, mask=inside)


@triton.jit
def _rician_noise(image, std, real, imaginary, out, count, stride, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    width = tl.load(std + row)
    value = tl.load(image + place, mask=inside, other=0.0)
    noisy = value + width * tl.load(real + row * stride + index, mask=inside, other=0.0)
    quadrature = width * tl.load(imaginary + row * stride + index, mask=inside, other=0.0)
    magnitude = tl.sqrt(noisy * noisy + quadrature * quadrature)
    tl.store(out + place, tl.where(width == 0.0, value, magnitude), mask=inside)


@triton.jit
def _detector_noise(image, widths, field, out, count, BLOCK: tl.constexpr):
    row, _, inside, place = voxels_of_program(count, BLOCK)
    additive, speckle = tl.load(widths + row * 3), tl.load(widths + row * 3 + 1)
    shot = tl.load(widths + row * 3 + 2)
    value = tl.load(image + place, mask=inside, other=0.0)
    normal = tl.load(field + place, mask=inside, other=0.0)
    scaled = value * speckle
    variance = (scaled * scaled + additive * additive) + tl.maximum(value, 0.0) * shot
    noisy = tl.minimum(tl.maximum(value + tl.sqrt(variance) * normal, 0.0), 1.0)
    widest = tl.maximum(tl.maximum(tl.abs(additive), tl.abs(speckle)), tl.abs(shot))
    noisy = tl.where(widest == 0.0, value, noisy)
    tl.store(out + place, tl.where(value <= 0.0, value, noisy), mask=inside)


def camera(image: Tensor, limits: Tensor, cameras: Tensor, shot: Tensor, electronic: Tensor) -> Tensor:
    """Contiguous volumes ``[B, 1, D, H, W]`` recorded by a camera.

    ``limits`` ``[B, 2]`` is their range; ``cameras`` ``[B, 3]`` are photons, background and read noise. The normal
    fields are ``[B, 1, D, H, W]``, contiguous within a sample and equally strided.

    Arguments are those of :func:`anystar_torch.kernels.noise.camera`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _camera[programs(len(image), count, BLOCK)](
            image,
            limits,
            cameras,
            shot,
            electronic,
            out,
            count,
            shot.stride(0),
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def rician_noise(image: Tensor, std: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    """Magnitude of noisy complex volumes; ``std`` ``[B]``, normal fields as in :func:`camera`.

    Arguments are those of :func:`anystar_torch.kernels.noise.rician_noise`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _rician_noise[programs(len(image), count, BLOCK)](
            image, std, real, imaginary, out, count, real.stride(0), BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def detector_noise(image: Tensor, widths: Tensor, field: Tensor) -> Tensor:
    """Add detector noise; ``widths`` ``[B, 3]``: additive, speckle, shot; ``field`` is contiguous.

    Arguments are those of :func:`anystar_torch.kernels.noise.detector_noise`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _detector_noise[programs(len(image), count, BLOCK)](
            image, widths, field, out, count, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


_IMAGE = {"image": "*fp32", "out": "*fp32", "count": "i32"}
SPECIALISATIONS = {
    "noise.camera": Specialisation(
        _camera,
        _IMAGE | dict.fromkeys(("limits", "cameras", "shot", "electronic"), "*fp32") | {"stride": "i64"},
        {"BLOCK": BLOCK},
    ),
    "noise.rician": Specialisation(
        _rician_noise,
        _IMAGE | dict.fromkeys(("std", "real", "imaginary"), "*fp32") | {"stride": "i64"},
        {"BLOCK": BLOCK},
    ),
    "noise.detector": Specialisation(
        _detector_noise, _IMAGE | dict.fromkeys(("widths", "field"), "*fp32"), {"BLOCK": BLOCK}
    ),
}
