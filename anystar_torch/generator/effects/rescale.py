"""Bring every sample to the range [0, 1]."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume, per_voxel
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import intensity_limits, run_native
from anystar_torch.random.source import Source


def rescale(image: Volume) -> Volume:
    """Map each sample's minimum to 0 and maximum to 1; constants become 0 (MONAI ``ScaleIntensity``).

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    return to_unit(image, intensity_limits(image))


def to_unit(image: Volume, limits: Float32[Tensor, "b 2"]) -> Volume:
    """Map two values of each sample, ``[B, 2]``, to 0 and 1 and clip; where they are the same to 0.

    Args:
        image: ``[B, 1, D, H, W]``.
        limits: what becomes 0 and what becomes 1.
    """
    if implementation(image.device) == "torch":
        low, high = (per_voxel(limit) for limit in limits.unbind(1))
        return ((image - low) / torch.where(high > low, high - low, 1.0)).clamp_(0.0, 1.0)
    rescaled: Volume = _to_unit(image, limits)
    return rescaled


@torch.library.custom_op("anystar::to_unit", mutates_args=())
def _to_unit(image: Tensor, limits: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("to_unit", image[:, 0], limits)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.to_unit(image.contiguous(), limits.contiguous())


@_to_unit.register_fake
def _(image: Tensor, limits: Tensor) -> Tensor:
    return image.new_empty(image.shape)


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Minimum-maximum rescaling of every sample; draws nothing."""

    def __call__(self, image: Volume, source: Source) -> Volume:
        """``image`` ``[B, 1, D, H, W]`` with every sample in [0, 1]."""
        return rescale(image)
