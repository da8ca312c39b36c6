"""Bring every sample to [0, 1] as if a display or a reader had clipped a share of its voxels at either end."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.kernels.intensities import lattice_quantiles, to_unit
from anystar_torch.random.source import Source


def exposure(image: Volume, dark: PerSample, bright: PerSample) -> Volume:
    """Map the quantile ``dark`` to 0 and the quantile ``1 - bright`` to 1 and clip; constants become 0.

    Args:
        image: ``[B, 1, D, H, W]``.
        dark: ``[B]``, share of voxels that end at 0, in [0, 1/2).
        bright: ``[B]``, share of voxels that end at 1, in [0, 1/2).
    """
    return to_unit(image, lattice_quantiles(image, dark, bright))


@dataclass(frozen=True, kw_only=True)
class RandomExposure:
    """A random window of grey values for every sample; in place of AnyStar's minimum and maximum.

    Prediction clips a real volume at quantiles (inference/normalise.py), and what shares of it are brighter or darker
    than its objects nobody knows. A network that was trained on many windows does not depend on the one it is given.

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
