"""Resolution that differs along the axes: an elongated point-spread function, and thick slices."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, reach
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels import filters
from anystar_torch.random.source import Source


def thick_slices(image: Volume, thickness: PerSampleAxis, start: PerSampleAxis) -> Volume:
    """Record the volume in slices of some thickness and interpolate linearly between their centres.

    A slice is the mean of the image over its extent, fractions of voxels included. The first slice begins
    between half a thickness before and after the volume's face; what lies beyond the outermost centres takes
    their value.

    Args:
        image: ``[B, 1, D, H, W]``.
        thickness: ``[B, 3]``, voxels along z, y, x, at least 1; 1 leaves that axis unchanged.
        start: ``[B, 3]`` in (-1/2, 1/2), where the first slice begins, in thicknesses from the face.
    """
    return filters.thick_slices(image, thickness, start)


@dataclass(frozen=True, kw_only=True)
class RandomResolution:
    """Anisotropic resolution of some samples: blur, then slices, both worst along the same axis.

    No counterpart in AnyStar. The axis is drawn: which one a file calls z says nothing about the instrument.

    Attributes:
        p: chance to apply.
        lateral: range of the blur's width across the axis, voxels.
        elongation: range of the factor by which the blur is wider along the axis.
        thickness: range of the slice thickness along the axis, voxels, at least 1.
    """

    p: float
    lateral: Range
    elongation: Range
    thickness: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("lateral", self.lateral, 0.0, 8.0)
        check_range("elongation", self.elongation, 1.0, 8.0)
        check_range("thickness", self.thickness, 1.0, 32.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw an axis, widths and a thickness per sample and apply them to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=image.device)
        lateral = draw(source, "lateral", self.lateral)[:, None]
        sigma = torch.where(axis, lateral * draw(source, "elongation", self.elongation)[:, None], lateral)
        thickness = torch.where(axis, draw(source, "thickness", self.thickness)[:, None], 1.0)
        widest = reach(self.lateral[1] * self.elongation[1])
        blurred = gaussian_blur(image, sigma, taps=widest)
        return thick_slices(blurred, thickness, source.uniform("start", -0.5, 0.5, 3))
