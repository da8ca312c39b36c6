"""Bring every sample to the range [0, 1]."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import Volume
from anystar_torch.random import Source


def rescale(image: Volume) -> Volume:
    """Map each sample's minimum to 0 and maximum to 1; constants become 0 (MONAI ``ScaleIntensity``).

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    low, high = image.amin((1, 2, 3, 4), keepdim=True), image.amax((1, 2, 3, 4), keepdim=True)
    span = high - low
    return (image - low) / torch.where(span == 0.0, 1.0, span)


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Minimum-maximum rescaling of every sample; draws nothing."""

    def __call__(self, image: Volume, source: Source) -> Volume:
        """``image`` ``[B, 1, D, H, W]`` with every sample in [0, 1]."""
        return rescale(image)
