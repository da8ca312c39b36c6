"""Light from outside of the focus: what is bright glows into its surroundings."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, reach
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source

COARSE = 4
"""The glow is smooth: it is computed on cubes of this many voxels, at a 64th of the cost."""
_MEANS = (COARSE**2 - 1) / 12 + COARSE**2 / 6
"""Variance that means over cubes and linear interpolation between them have already, voxels squared."""


def haze(image: Volume, share: PerSample, width: PerSampleAxis, *, taps: int) -> Volume:
    """Spread a share of the light over a wide Gaussian: ``(1 - share) I + share (G * I)``.

    A point-spread function of two Gaussians, as confocal and light-sheet microscopes have deep in tissue; this is its
    wide part.

    Args:
        image: ``[B, 1, D, H, W]``.
        share: ``[B]`` in [0, 1]; 0 leaves a sample bit-identical.
        width: ``[B, 3]``, standard deviation along z, y, x, voxels; at least 4, the least that cubes of
            :data:`COARSE` show well.
        taps: kernel half-width to compute on the cubes, at least ``reach`` of the largest width over :data:`COARSE`.
    """
    sizes = image.shape[2:]
    behind = [-size % COARSE for size in reversed(sizes)]
    whole = F.pad(image, [part for size in behind for part in (0, size)], mode="replicate")
    cubes = F.avg_pool3d(whole, COARSE)
    left = (width.square() - _MEANS).clamp(min=0.0).sqrt() / COARSE
    glow = F.interpolate(gaussian_blur(cubes, left, taps=taps), scale_factor=COARSE, mode="trilinear")
    return image + per_voxel(share) * (glow[..., : sizes[0], : sizes[1], : sizes[2]] - image)


@dataclass(frozen=True, kw_only=True)
class RandomHaze:
    """Haze on some samples, longest along a drawn axis.

    No counterpart in AnyStar, whose grounds know nothing of its objects.

    Attributes:
        p: chance to apply.
        share: range of the share of the light that is spread, in [0, 1].
        glow: range of its standard deviation across the axis, voxels, at least 4.
        elongation: range of the factor by which it is longer along the axis.
    """

    p: float
    share: Range
    glow: Range
    elongation: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("share", self.share, 0.0, 1.0)
        check_range("glow", self.glow, 4.0, 64.0)
        check_range("elongation", self.elongation, 1.0, 8.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a haze per sample and lay it over ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=image.device)
        longer = torch.where(axis, draw(source, "elongation", self.elongation)[:, None], 1.0)
        width = draw(source, "glow", self.glow)[:, None] * longer
        taps = reach(self.glow[1] * self.elongation[1] / COARSE)
        return haze(image, draw(source, "share", self.share), width, taps=taps)
