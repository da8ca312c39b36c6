"""Unsharp masking, as in reconstruction software and contrast filters."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, taps_of
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source


def sharpen(
    image: Volume, first: PerSampleAxis, second: PerSampleAxis, strength: PerSample, *, taps: int
) -> Volume:
    """Blur, then add the difference to a second blur, multiplied by ``strength``.

    ``b = G(first) * image; out = b + strength * (b - G(second) * b)`` (MONAI ``GaussianSharpen``, approx="erf").
    Difference to MONAI, where the image is 0 beyond its faces and the faces become bright: the image continues with the
    values at its faces.

    Args:
        image: ``[B, 1, D, H, W]``.
        first: ``[B, 3]``, standard deviation of the first blur along z, y, x, voxels.
        second: ``[B, 3]``, standard deviation of the second blur, voxels.
        strength: ``[B]``; 0 gives the first blur only. With ``first`` 0, too, the image is unchanged.
        taps: half-width of the kernel, see :func:`~anystar_torch.generator.effects.blur.gaussian_blur`.
    """
    blurred = gaussian_blur(image, first, taps=taps)
    detail = blurred - gaussian_blur(blurred, second, taps=taps)
    return blurred.addcmul(per_voxel(strength), detail)


@dataclass(frozen=True, kw_only=True)
class RandomSharpen:
    """Strong sharpening of some samples.

    Attributes:
        p: chance to apply.
        first: range of the standard deviation of the first blur along each axis, voxels.
        second: least standard deviation of the second blur, voxels; that of the first blur is the largest.
        strength: range of the factor on the difference.
    """

    p: float
    first: Range
    second: float
    strength: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("first", self.first, 0.0, 16.0)
        check_range("second", (self.second, self.first[0]), 0.0, 16.0)
        check_range("strength", self.strength, 0.0)

    @property
    def blurs(self) -> bool:
        """Whether the first blur may widen an edge by more than the strongest difference narrows it.

        The variance of the whole filter is ``first^2 - strength * second^2``.
        """
        return self.p > 0.0 and self.first[1] ** 2 > self.strength[0] * self.second**2

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw widths and strength per sample and sharpen ``image`` ``[B, 1, D, H, W]`` with them."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        first = draw(source, "first", self.first, 3)
        second = self.second + (first - self.second) * source.uniform("second", 0.0, 1.0, 3)
        strength = draw(source, "strength", self.strength)
        return sharpen(image, first, second, strength, taps=taps_of(self.first[1]))
