"""Gibbs ringing: the high spatial frequencies a short magnetic resonance acquisition never measured."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.fourier import inverse, transform
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.spectrum import cut_spectrum
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
    cut = inverse(cut_spectrum(transform(image), alpha, recorded))
    return torch.where(per_voxel(alpha) == 0.0, image, cut)


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
