"""Out-of-focus light: bright objects add a wide glow to their neighbourhood."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, taps_of
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source

COARSE = 4
"""Voxels per cube edge. The glow is smooth, so it is computed on cubes, at 1/64 of the cost."""
_VARIANCE = (COARSE**2 - 1) / 12 + COARSE**2 / 6
"""Variance, in squared voxels, of the mean over a cube and the linear interpolation between cubes."""
SHARP_SHARE = 0.6
"""Up to this share of out-of-focus light the outline of an object stays at its sharp edge: a quarter of the edge's
height is above the glow (tests/generator/effects/test_out_of_focus.py)."""


def out_of_focus(image: Volume, share: PerSample, width: PerSampleAxis, *, taps: int) -> Volume:
    """Blur a share of the light with a wide Gaussian G: ``(1 - share) I + share (G * I)``.

    Confocal and light-sheet microscopes have a point-spread function of two Gaussians deep in tissue. This is the
    wide one.

    Args:
        image: ``[B, 1, D, H, W]``.
        share: ``[B]`` in [0, 1]; 0 leaves a sample bit-identical.
        width: ``[B, 3]``, standard deviation of G along z, y, x, voxels; at least 4, the least that cubes of
            :data:`COARSE` voxels represent well.
        taps: half-width of the kernel on the cubes; at least ``taps_of`` of the largest width over :data:`COARSE`.
    """
    sizes = image.shape[2:]
    behind = [-size % COARSE for size in reversed(sizes)]
    padded = F.pad(image, [part for size in behind for part in (0, size)], mode="replicate")
    cubes = F.avg_pool3d(padded, COARSE)
    remaining = (width.square() - _VARIANCE).clamp(min=0.0).sqrt() / COARSE
    glow = F.interpolate(gaussian_blur(cubes, remaining, taps=taps), scale_factor=COARSE, mode="trilinear")
    return image + per_voxel(share) * (glow[..., : sizes[0], : sizes[1], : sizes[2]] - image)


@dataclass(frozen=True, kw_only=True)
class RandomOutOfFocus:
    """Out-of-focus light in some samples, widest along a random axis.

    AnyStar has no such effect: its backgrounds do not depend on its objects.

    Attributes:
        p: chance to apply.
        share: range of the share of the light that is out of focus, in [0, 1].
        width: range of the standard deviation of this light across the axis, voxels, at least 4.
        elongation: range of the width along the axis over the width across it.
    """

    p: float
    share: Range
    width: Range
    elongation: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("share", self.share, 0.0, 1.0)
        check_range("width", self.width, 4.0, 64.0)
        check_range("elongation", self.elongation, 1.0, 8.0)

    @property
    def blurs(self) -> bool:
        """Whether the effect may move outlines: whether ``share`` exceeds :data:`SHARP_SHARE`."""
        return self.p > 0.0 and self.share[1] > SHARP_SHARE

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw share and widths per sample and apply them to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=image.device)
        longer = torch.where(axis, draw(source, "elongation", self.elongation)[:, None], 1.0)
        width = draw(source, "glow", self.width)[:, None] * longer  # "glow" is the name of a random stream
        taps = taps_of(self.width[1] * self.elongation[1] / COARSE)
        return out_of_focus(image, draw(source, "share", self.share), width, taps=taps)
