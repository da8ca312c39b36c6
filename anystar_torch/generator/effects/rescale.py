"""Bring every sample to the range [0, 1]."""

from dataclasses import dataclass

from anystar_torch.arrays import Volume
from anystar_torch.kernels.intensities import intensity_limits, to_unit
from anystar_torch.random.source import Source


def rescale(image: Volume) -> Volume:
    """Map the minimum of each sample to 0 and the maximum to 1; constants become 0 (MONAI ``ScaleIntensity``).

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    return to_unit(image, intensity_limits(image))


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Minimum-maximum rescaling of every sample, without draws."""

    def __call__(self, image: Volume, source: Source) -> Volume:
        """``image`` ``[B, 1, D, H, W]`` with every sample in [0, 1]."""
        return rescale(image)
