"""Unsharp masking, as reconstruction software and careless contrast filters do it."""

from dataclasses import dataclass

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, reach
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source


def sharpen(
    image: Volume, first: PerSampleAxis, second: PerSampleAxis, strength: PerSample, *, taps: int
) -> Volume:
    """Blur, then add what a second blur takes away, many times over.

    ``b = G(first) * image; out = b + strength * (b - G(second) * b)`` (MONAI ``GaussianSharpen``,
    approx="erf").

    Difference: beyond its faces the image continues as at them; MONAI's is 0 there, and its faces turn bright.

    Args:
        image: ``[B, 1, D, H, W]``.
        first: ``[B, 3]``, width of the first blur along z, y, x, voxels.
        second: ``[B, 3]``, width of the second.
        strength: ``[B]``; 0 leaves the first blur alone, and with ``first`` 0 the image.
        taps: kernel half-width, see :func:`anystar_torch.generator.effects.blur.gaussian_blur`.
    """
    blurred = gaussian_blur(image, first, taps=taps)
    detail = blurred - gaussian_blur(blurred, second, taps=taps)
    return blurred.addcmul(per_voxel(strength), detail)


@dataclass(frozen=True, kw_only=True)
class RandomSharpen:
    """Strong sharpening of some samples.

    Attributes:
        p: chance to apply.
        first: range of the first blur's width along each axis, voxels.
        second: least width of the second blur; its width is drawn between this and the first blur's.
        strength: range of the factor of the detail.
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

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw widths and strength per sample and sharpen ``image`` ``[B, 1, D, H, W]`` with them."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        first = draw(source, "first", self.first, 3)
        second = self.second + (first - self.second) * source.uniform("second", 0.0, 1.0, 3)
        strength = draw(source, "strength", self.strength)
        return sharpen(image, first, second, strength, taps=reach(self.first[1]))
