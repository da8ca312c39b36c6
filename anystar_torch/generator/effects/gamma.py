"""Contrast: a power law on intensities, as of a display or a detector."""

from dataclasses import dataclass
from typing import ClassVar

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.intensities import contrast, intensity_limits
from anystar_torch.random.source import Source


def adjust_contrast(image: Volume, gamma: PerSample, headroom: PerSample) -> Volume:
    """Raise intensities, relative to a range, to a power; the range stays the same.

    ``out = low + span * ((image - low) / span)^gamma`` (MONAI ``AdjustContrast``). The range is that of the sample,
    extended upwards by ``headroom`` for brighter voxels outside of the sample.

    Args:
        image: ``[B, 1, D, H, W]``.
        gamma: ``[B]``, positive; 1 leaves the image unchanged, above 1 darkens the middle of the range.
        headroom: ``[B]``, not negative, in units of the range of the sample.
    """
    return contrast(image, intensity_limits(image), gamma, headroom)


@dataclass(frozen=True, kw_only=True)
class RandomContrast:
    """Contrast of some samples.

    AnyStar applies it to a larger volume, of which the sample is the middle. The bright corner of the bias field is
    outside of the sample. A power of a wider range is the same curve on a smaller scale, so that noise that is added
    later is stronger relative to it.

    Attributes:
        p: chance to apply.
        gamma: range of the exponent, positive.
        headroom: range of the excess of the maximum of the larger volume over that of the sample, in units of the range
            of the sample.
    """

    blurs: ClassVar[bool] = False

    p: float
    gamma: Range
    headroom: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("gamma", self.gamma, 0.01, 100.0)
        check_range("headroom", self.headroom, 0.0, 100.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw an exponent per sample and apply it to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        gamma, headroom = draw(source, "gamma", self.gamma), draw(source, "headroom", self.headroom)
        return adjust_contrast(image, gamma, headroom)
