"""Gibbs ringing: the high spatial frequencies a short magnetic resonance acquisition never measured."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.augment.chain import with_chance
from anystar_torch.augment.fourier import inverse, transform
from anystar_torch.augment.ranges import Range, check_chance, check_range, draw
from anystar_torch.random import Source


def gibbs_ringing(image: Volume, alpha: PerSample) -> Volume:
    """Remove all frequencies outside a ball of k-space.

    The ball has the radius ``(1 - alpha) * max(D, H, W) / sqrt 2`` around ``(n - 1) / 2`` of the centred
    spectrum, which for even n is half a bin off the zero frequency; the real part of the result is kept
    (MONAI ``GibbsNoise``). Below 0.29 only the corners of k-space are cut, at 0.5 all above 0.354 cycles per
    voxel.

    Args:
        image: ``[B, 1, D, H, W]``.
        alpha: ``[B]`` in [0, 1]; 0 leaves the image unchanged (MONAI's 0 still cuts the corners).
    """
    depth, height, width = (_squared_frequency(n, image) for n in image.shape[2:])
    squared = depth[:, None, None] + height[:, None] + width
    radius = (1.0 - alpha) * (max(image.shape[2:]) * math.sqrt(0.5))
    ringing = inverse(transform(image).masked_fill_(squared > per_voxel(radius * radius), 0.0))
    return torch.where(per_voxel(alpha) == 0.0, image, ringing)


def _squared_frequency(size: int, image: Volume) -> Float32[Tensor, "n"]:
    """Squared distance of every bin from the ball's centre, in the order of an FFT."""
    index = torch.arange(size, device=image.device)
    return ((index + size // 2) % size - (size - 1) / 2).square()


@dataclass(frozen=True, kw_only=True)
class RandomGibbsRinging:
    """Gibbs ringing on some samples.

    Attributes:
        p: chance to apply.
        alpha: range of the share of the k-space radius cut away, in [0, 1].
    """

    p: float
    alpha: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("alpha", self.alpha, 0.0, 1.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a radius per sample and cut the spectrum of ``image`` ``[B, 1, D, H, W]`` there."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gibbs_ringing(image, draw(source, "alpha", self.alpha))
