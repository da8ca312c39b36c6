"""Gaussian blur with a width per sample and axis, as a point-spread function that differs along the axis."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import run_native
from anystar_torch.random.source import Source

TRUNCATED = 4.0
"""Kernels end at this many standard deviations, rounded to voxels (MONAI's choice)."""


def reach(sigma: float) -> int:
    """Taps on each side of the centre that a kernel of this width has (MONAI ``gaussian_1d``)."""
    return int(max(sigma * TRUNCATED, 0.5) + 0.5)


def gaussian_blur(image: Volume, sigma: PerSampleAxis, *, taps: int) -> Volume:
    """Convolve with a Gaussian integrated over voxels; beyond its faces the image continues as at them.

    The kernel is ``(erf((i + 1/2) / (sigma sqrt 2)) - erf((i - 1/2) / (sigma sqrt 2))) / 2`` for ``|i|`` up
    to ``reach(sigma)``, not renormalised (MONAI ``GaussianSmooth``, approx="erf").

    Difference: MONAI takes the image to be 0 beyond its faces. AnyStar filters 64 to 128 voxels and keeps the
    middle 64, so that the frame this makes lies outside or in corners; here it would surround every sample.

    Args:
        image: ``[B, 1, D, H, W]``.
        sigma: ``[B, 3]``, voxels along z, y, x; 0 leaves that axis unchanged.
        taps: kernel half-width to compute, at least ``reach`` of the largest sigma (wider tails are cut).
    """
    if implementation(image.device) == "torch":
        return torch_gaussian_blur(image, sigma, taps)
    for axis in range(3):
        image = _gaussian_filter(image, sigma, axis, taps)
    return image


@torch.library.custom_op("anystar::gaussian_filter", mutates_args=())
def _gaussian_filter(image: Tensor, sigma: Tensor, axis: int, taps: int) -> Tensor:
    """One axis of :func:`gaussian_blur`; the kernels compute the weights themselves."""
    if implementation(image.device) == "native":
        return run_native("gaussian_filter", image[:, 0], sigma, axis, taps)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.gaussian_filter(image.contiguous(), sigma.contiguous(), axis, taps)


@_gaussian_filter.register_fake
def _(image: Tensor, sigma: Tensor, axis: int, taps: int) -> Tensor:
    return image.new_empty(image.shape)


def torch_gaussian_blur(image: Volume, sigma: PerSampleAxis, taps: int) -> Volume:
    """The plain torch implementation of :func:`gaussian_blur`."""
    kernels = gaussian_kernels(sigma, taps)
    for axis in range(3):
        image = _convolve(image, kernels[:, axis], axis + 2)
    return image


def gaussian_kernels(sigma: PerSampleAxis, taps: int) -> Float32[Tensor, "b 3 taps"]:
    """One side of the symmetric kernels, centre first: ``[B, 3, taps + 1]``."""
    position = torch.arange(taps + 1, dtype=torch.float32, device=sigma.device)
    scale = 0.70710678 / sigma[:, :, None]
    kernel = 0.5 * (torch.erf((position + 0.5) * scale) - torch.erf((position - 0.5) * scale))
    last = (sigma[:, :, None] * TRUNCATED).clamp_(min=0.5).add_(0.5).floor_()
    return torch.where(position <= last, kernel, 0.0)


def _convolve(image: Volume, kernel: Float32[Tensor, "b taps"], axis: int) -> Volume:
    """Sum of shifted copies: a grouped convolution's rounding would depend on the batch."""
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


@dataclass(frozen=True, kw_only=True)
class RandomBlur:
    """Gaussian blur of some samples, with a width of its own along every axis.

    Attributes:
        p: chance to apply.
        sigma: range of the width along z, y, x, voxels.
    """

    p: float
    sigma: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("sigma", self.sigma, 0.0, 16.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw three widths per sample and blur ``image`` ``[B, 1, D, H, W]`` with them."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gaussian_blur(image, draw(source, "sigma", self.sigma, 3), taps=reach(self.sigma[1]))
