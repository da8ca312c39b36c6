"""Intensity range: bring every sample to [0, 1], with a share of the voxels clipped at both ends."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.kernels.intensities import lattice_quantiles, to_unit
from anystar_torch.random.source import Source


def exposure(image: Volume, dark: PerSample, bright: PerSample) -> Volume:
    """Map the quantile ``dark`` to 0 and the quantile ``1 - bright`` to 1, and clip; constants become 0.

    Args:
        image: ``[B, 1, D, H, W]``.
        dark: ``[B]``, share of voxels that end at 0, in [0, 1/2).
        bright: ``[B]``, share of voxels that end at 1, in [0, 1/2).
    """
    return to_unit(image, lattice_quantiles(image, dark, bright))


@dataclass(frozen=True, kw_only=True)
class RandomExposure:
    """A random intensity range for every sample, instead of AnyStar's minimum and maximum.

    Prediction clips a real volume at quantiles. The shares of voxels that are brighter or darker than the objects are
    unknown. A network that is trained with many intensity ranges does not depend on the choice.

    Attributes:
        dark: range of the share of voxels that end at 0.
        bright: range of the share of voxels that end at 1.
    """

    dark: Range
    bright: Range

    def __post_init__(self) -> None:
        check_range("dark", self.dark, 0.0, 0.49)
        check_range("bright", self.bright, 0.0, 0.49)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw two shares per sample and bring ``image`` ``[B, 1, D, H, W]`` to [0, 1]."""
        return exposure(image, draw(source, "dark", self.dark), draw(source, "bright", self.bright))
