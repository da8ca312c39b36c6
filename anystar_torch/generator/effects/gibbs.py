"""Gibbs ringing: a short magnetic resonance acquisition does not measure high spatial frequencies."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.fourier import inverse, transform
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.spectrum import cut_spectrum
from anystar_torch.random.source import Source

SHARP_ALPHA = 0.5
"""Up to this share of the k-space radius, outlines move by less than 0.4 voxel. An ideal low pass of 0.354 cycles per
voxel puts a quarter of the height of an edge 0.36 voxel outside of it."""


def gibbs_ringing(image: Volume, alpha: PerSample, recorded: PerSampleAxis) -> Volume:
    """Remove all frequencies outside of a ball of k-space.

    With ``recorded`` 1 the ball has the radius ``(1 - alpha) * max(D, H, W) / sqrt 2``. Its centre is ``(n - 1) / 2``
    of the centred spectrum, for even n half a bin from the zero frequency. The result is the real part (MONAI
    ``GibbsNoise``). In a cube, alpha below 0.29 removes only corners of k-space, and 0.5 removes all frequencies above
    0.354 cycles per voxel. A larger recorded volume has finer bins. The ball becomes an ellipsoid with the same width
    along the longest axis and a larger one along the others.

    Args:
        image: ``[B, 1, D, H, W]``.
        alpha: ``[B]`` in [0, 1]; 0 leaves the image unchanged (in MONAI 0 removes the corners).
        recorded: ``[B, 3]``, size along z, y, x of the volume whose spectrum is cut, over the size of this volume.
    """
    cut = inverse(cut_spectrum(transform(image), alpha, recorded))
    return torch.where(per_voxel(alpha) == 0.0, image, cut)


@dataclass(frozen=True, kw_only=True)
class RandomGibbsRinging:
    """Gibbs ringing in some samples.

    Attributes:
        p: chance to apply.
        alpha: range of the share of the k-space radius that is removed, in [0, 1].
        recorded: range of the size of the recorded volume over the size of the sample, along each axis. AnyStar cuts
            the spectrum of 64 to 128 voxels, with a different size along each axis, and keeps the middle 64 voxels.
            Most of its ringing is therefore not visible.
    """

    p: float
    alpha: Range
    recorded: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("alpha", self.alpha, 0.0, 1.0)
        check_range("recorded", self.recorded, 0.1, 10.0)

    @property
    def blurs(self) -> bool:
        """Whether the effect may move outlines: whether ``alpha`` exceeds :data:`SHARP_ALPHA`."""
        return self.p > 0.0 and self.alpha[1] > SHARP_ALPHA

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a radius per sample and cut the spectrum of ``image`` ``[B, 1, D, H, W]`` there."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gibbs_ringing(
            image, draw(source, "alpha", self.alpha), draw(source, "recorded", self.recorded, 3)
        )
