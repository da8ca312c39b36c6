"""Bring every sample to [0, 1] as if a display or a reader had clipped a share of its voxels at either end."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.effects.rescale import to_unit
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.random.source import Source

LATTICE = 7
"""Quantiles are those of every seventh voxel: an odd stride, so that all rows take part. Sorting all would cost more
than any other effect."""


def exposure(image: Volume, dark: PerSample, bright: PerSample) -> Volume:
    """Map the quantile ``dark`` to 0 and the quantile ``1 - bright`` to 1 and clip; constants become 0.

    Args:
        image: ``[B, 1, D, H, W]``.
        dark: ``[B]``, share of voxels that end at 0, in [0, 1/2).
        bright: ``[B]``, share of voxels that end at 1, in [0, 1/2).
    """
    choose = _lattice_quantiles if implementation(image.device) == "native" else torch_lattice_quantiles
    return to_unit(image, choose(image, dark, bright))


@torch.library.custom_op("anystar::lattice_quantiles", mutates_args=())
def _lattice_quantiles(image: Tensor, dark: Tensor, bright: Tensor) -> Tensor:
    """The native implementation of :func:`torch_lattice_quantiles`: a selection instead of a sort."""
    from anystar_torch.kernels import _native

    limits, shares = torch.empty(len(image), 2), (dark.contiguous().numpy(), bright.contiguous().numpy())
    volumes = image[:, 0].contiguous().numpy()
    _native.lattice_quantiles(volumes, LATTICE, *shares, limits.numpy(), torch.get_num_threads())
    return limits


@_lattice_quantiles.register_fake
def _(image: Tensor, dark: Tensor, bright: Tensor) -> Tensor:
    return image.new_empty(len(image), 2)


def torch_lattice_quantiles(image: Volume, dark: PerSample, bright: PerSample) -> Float32[Tensor, "b 2"]:
    """The quantiles ``dark`` and ``1 - bright`` of every :data:`LATTICE`-th voxel, ``[B, 2]``."""
    ordered = image.flatten(1)[:, ::LATTICE].sort(dim=1).values
    last = ordered.shape[1] - 1
    place = torch.stack([dark, 1.0 - bright], dim=1) * last
    return ordered.gather(1, place.round().to(torch.int64))


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
