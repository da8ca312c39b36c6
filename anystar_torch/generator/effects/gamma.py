"""Contrast: a power law on intensities, as a display or a detector has it."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.intensities import contrast, intensity_limits
from anystar_torch.random.source import Source


def adjust_contrast(image: Volume, gamma: PerSample, headroom: PerSample) -> Volume:
    """Raise intensities, relative to a range, to a power; the range stays.

    ``out = low + span * ((image - low) / span)^gamma`` (MONAI ``AdjustContrast``), the range being the
    sample's own, widened upwards by ``headroom``: by what is brighter where the sample does not look.

    Args:
        image: ``[B, 1, D, H, W]``.
        gamma: ``[B]``, positive; 1 leaves the image unchanged, above 1 darkens the middle of the range.
        headroom: ``[B]``, not negative, in units of the sample's own range.
    """
    return contrast(image, intensity_limits(image), gamma, headroom)


@dataclass(frozen=True, kw_only=True)
class RandomContrast:
    """Contrast of some samples.

    AnyStar applies it to a volume of which the sample is the middle, and whose bright corner (of the bias
    field) lies outside: a power of a wider range is the same curve but for its scale, so that the noise added
    later is larger beside it.

    Attributes:
        p: chance to apply.
        gamma: range of the exponent, positive.
        headroom: range of how much brighter than the sample's maximum the volume is elsewhere, in units of
            the sample's range.
    """

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
