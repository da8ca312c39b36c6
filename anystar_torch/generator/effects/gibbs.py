"""Gibbs ringing: the high spatial frequencies a short magnetic resonance acquisition never measured."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.fourier import Spectrum, inverse, transform
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import run_native
from anystar_torch.random.source import Source


def gibbs_ringing(image: Volume, alpha: PerSample, recorded: PerSampleAxis) -> Volume:
    """Remove all frequencies outside a ball of k-space.

    With ``recorded`` 1 the ball has the radius ``(1 - alpha) * max(D, H, W) / sqrt 2`` around ``(n - 1) / 2``
    of the centred spectrum, which for even n is half a bin off the zero frequency; the real part of the
    result is kept (MONAI ``GibbsNoise``). In a cube only corners of k-space are cut below alpha 0.29, and all
    above 0.354 cycles per voxel at 0.5. A volume recorded larger has finer bins: the ball becomes an
    ellipsoid, as wide as before along the longest axis, wider along the others.

    Args:
        image: ``[B, 1, D, H, W]``.
        alpha: ``[B]`` in [0, 1]; 0 leaves the image unchanged (MONAI's 0 still cuts the corners).
        recorded: ``[B, 3]``, size along z, y, x of the volume whose spectrum is cut, in sizes of this one.
    """
    spectrum = transform(image)
    if implementation(image.device) == "torch":
        spectrum = torch_cut_spectrum(spectrum, alpha, recorded)
    else:
        spectrum = torch.view_as_complex(_cut_spectrum(torch.view_as_real(spectrum[:, 0]), alpha, recorded))[
            :, None
        ]
    return torch.where(per_voxel(alpha) == 0.0, image, inverse(spectrum))


@torch.library.custom_op("anystar::cut_spectrum", mutates_args=())
def _cut_spectrum(spectrum: Tensor, alpha: Tensor, recorded: Tensor) -> Tensor:
    """:func:`torch_cut_spectrum` of real and imaginary parts ``[B, D, H, W, 2]``."""
    if implementation(spectrum.device) == "native":
        return run_native("cut_spectrum", spectrum, alpha, recorded)
    from anystar_torch.kernels.triton import spectrum as kernels

    return kernels.cut_spectrum(spectrum.contiguous(), alpha.contiguous(), recorded.contiguous())


@_cut_spectrum.register_fake
def _(spectrum: Tensor, alpha: Tensor, recorded: Tensor) -> Tensor:
    return spectrum.new_empty(spectrum.shape)


def torch_cut_spectrum(spectrum: Spectrum, alpha: PerSample, recorded: PerSampleAxis) -> Spectrum:
    """``spectrum`` with 0 outside of the ball; the plain torch implementation."""
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
    """Squared distance of every bin from the ball's centre, in the order of an FFT."""
    index = torch.arange(size, device=like.device)
    return ((index + size // 2) % size - (size - 1) / 2).square()


@dataclass(frozen=True, kw_only=True)
class RandomGibbsRinging:
    """Gibbs ringing on some samples.

    Attributes:
        p: chance to apply.
        alpha: range of the share of the k-space radius cut away, in [0, 1].
        recorded: range of the size of the recorded volume along each axis, in sizes of the sample. AnyStar
            cuts the spectrum of 64 to 128 voxels, a size of its own along each axis, and keeps the middle 64;
            this is what makes most of its ringing invisible.
    """

    p: float
    alpha: Range
    recorded: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("alpha", self.alpha, 0.0, 1.0)
        check_range("recorded", self.recorded, 0.1, 10.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a radius per sample and cut the spectrum of ``image`` ``[B, 1, D, H, W]`` there."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gibbs_ringing(
            image, draw(source, "alpha", self.alpha), draw(source, "recorded", self.recorded, 3)
        )
