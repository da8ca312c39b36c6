"""Gaussian blur with a width for each sample and axis."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.filters import TRUNCATED, gaussian_filter
from anystar_torch.random.source import Source

NEGLIGIBLE = 0.5
"""Largest standard deviation, in voxels, that does not count for outlines: it moves them by a third of a voxel."""


def taps_of(sigma: float) -> int:
    """Taps on each side of the centre of a kernel with standard deviation ``sigma`` (MONAI ``gaussian_1d``).

    Args:
        sigma: standard deviation, voxels.
    """
    return int(max(sigma * TRUNCATED, 0.5) + 0.5)


def gaussian_blur(image: Volume, sigma: PerSampleAxis, *, taps: int) -> Volume:
    """Convolve with a Gaussian that is integrated over voxels, ``[B, 1, D, H, W]``.

    The kernel is ``(erf((i + 1/2) / (sigma sqrt 2)) - erf((i - 1/2) / (sigma sqrt 2))) / 2`` for ``|i|`` up to
    ``taps_of(sigma)``, not renormalised (MONAI ``GaussianSmooth``, approx="erf").

    Difference to MONAI, where the image is 0 beyond its faces: the image continues with the values at its faces.
    AnyStar filters 64 to 128 voxels and keeps the middle 64, so most of the dark frame is outside of the sample.

    Args:
        image: ``[B, 1, D, H, W]``.
        sigma: ``[B, 3]``, standard deviation along z, y, x, voxels; 0 leaves that axis unchanged.
        taps: half-width of the kernel, at least ``taps_of`` of the largest sigma.
    """
    return gaussian_filter(image, sigma, taps)


@dataclass(frozen=True, kw_only=True)
class RandomBlur:
    """Gaussian blur of some samples, with a different width along each axis.

    Attributes:
        p: chance to apply.
        sigma: range of the standard deviation along z, y, x, voxels.
    """

    p: float
    sigma: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("sigma", self.sigma, 0.0, 16.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw three widths per sample and blur ``image`` ``[B, 1, D, H, W]`` with them."""
        return with_chance(self.p, self._always, image, source)

    def blur_width(self, source: Source) -> PerSampleAxis:
        """Standard deviation of the blur, ``[B, 3]``, voxels; 0 if ``sigma`` never exceeds :data:`NEGLIGIBLE`.

        Args:
            source: draws of the effect, as in its call.
        """
        if self.p == 0.0 or self.sigma[1] <= NEGLIGIBLE:
            return torch.zeros(len(source.root), 3, dtype=torch.float32, device=source.root.device)
        return torch.where(source.coin("applied", self.p)[:, None], draw(source, "sigma", self.sigma, 3), 0.0)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gaussian_blur(image, draw(source, "sigma", self.sigma, 3), taps=taps_of(self.sigma[1]))
