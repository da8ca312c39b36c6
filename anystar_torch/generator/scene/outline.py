"""Outlines as people draw them: outside of an edge that an instrument blurred, at about a quarter of its height."""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume
from anystar_torch.generator.parameters import Range, check_range
from anystar_torch.kernels import shading

LARGEST_SHARE = 0.45
"""Largest share of a radius that is eroded. A wide blur would otherwise remove small objects."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The distance from the edges of objects, which the instrument blurs, to the outlines that people draw.

    Attributes:
        widths: range of the distance, in standard deviations of the blur. 0 in AnyStar. 0.67 puts the outline at a
            quarter of the height of a flat edge.
        defocus: additional distance along an axis with more blur, see :func:`outline_offset`. 0 in AnyStar.
    """

    widths: Range
    defocus: float

    def __post_init__(self) -> None:
        check_range("outline.widths", self.widths, 0.0, 2.0)
        check_range("outline.defocus", (0.0, self.defocus), 0.0, 2.0)


def outline_offset(widths: PerSample, blur: PerSampleAxis, defocus: float) -> PerSampleAxis:
    """Distance from edges to outlines along z, y, x, ``[B, 3]``, voxels.

    ``widths (blur + defocus (blur - least blur))``. People outline slice by slice, with a contrast for each slice.
    Along the axis with the most blur they therefore follow an object further than its cross section suggests.

    Args:
        widths: ``[B]``, distance in standard deviations of the blur, where the blur is the same along all axes.
        blur: ``[B, 3]``, standard deviation of the instrument's blur along z, y, x, voxels.
        defocus: additional distance along axes with more blur, in units of ``widths``; 0 for none.
    """
    least = blur.amin(1, keepdim=True)
    return widths[:, None] * (blur + defocus * (blur - least))


def emitting(depth: Volume, reach: Volume, offset: PerSampleAxis) -> Bool[Tensor, "b 1 d h w"]:
    """Mask of emitting voxels: each object eroded by ``offset``, so that its outline lies at its label after blurring.

    A blur of standard deviation ``s`` puts a quarter of the height of a flat edge 0.67 s outside of it. Here ``s`` is
    the one along the normal of the edge: ``|offset * grad depth|`` is the distance in the units of ``depth``, for any
    map between voxels and scene. At most :data:`LARGEST_SHARE` of a radius is eroded.

    Args:
        depth: ``[B, 1, D, H, W]``, distance below the surface along the ray from the centre, voxels of the scene.
        reach: ``[B, 1, D, H, W]``, distance of that surface from the centre, voxels of the scene.
        offset: ``[B, 3]`` along z, y, x, voxels of the sample; 0 for outlines at the edge.
    """
    return shading.emitting(depth, reach, offset, LARGEST_SHARE)
