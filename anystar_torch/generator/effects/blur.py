"""Gaussian blur with a width per sample and axis, as a point-spread function that differs along the axis."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.filters import TRUNCATED, gaussian_filter
from anystar_torch.random.source import Source


def reach(sigma: float) -> int:
    """Taps on each side of the centre that a kernel of this width has (MONAI ``gaussian_1d``)."""
    return int(max(sigma * TRUNCATED, 0.5) + 0.5)


def gaussian_blur(image: Volume, sigma: PerSampleAxis, *, taps: int) -> Volume:
    """Convolve with a Gaussian integrated over voxels; beyond its faces the image continues as at them.

    The kernel is ``(erf((i + 1/2) / (sigma sqrt 2)) - erf((i - 1/2) / (sigma sqrt 2))) / 2`` for ``|i|`` up
    to ``reach(sigma)``, not renormalised (MONAI ``GaussianSmooth``, approx="erf").

    Difference: MONAI takes the image to be 0 beyond its faces. AnyStar filters 64 to 128 voxels and keeps the
    middle 64, so that the frame this makes lies outside or in corners; here it would surround every sample.

    Args:
        image: ``[B, 1, D, H, W]``.
        sigma: ``[B, 3]``, voxels along z, y, x; 0 leaves that axis unchanged.
        taps: kernel half-width to compute, at least ``reach`` of the largest sigma (wider tails are cut).
    """
    return gaussian_filter(image, sigma, taps)


@dataclass(frozen=True, kw_only=True)
class RandomBlur:
    """Gaussian blur of some samples, with a width of its own along every axis.

    Attributes:
        p: chance to apply.
        sigma: range of the width along z, y, x, voxels.
    """

    p: float
    sigma: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("sigma", self.sigma, 0.0, 16.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw three widths per sample and blur ``image`` ``[B, 1, D, H, W]`` with them."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return gaussian_blur(image, draw(source, "sigma", self.sigma, 3), taps=reach(self.sigma[1]))
