"""Where people draw outlines: outside of an edge that an instrument has blurred, at about a quarter of its height."""

from jaxtyping import Bool
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume
from anystar_torch.kernels import shading

MOST = 0.45
"""The largest part of a radius that may stay dark; else small objects would vanish behind a wide blur."""


def outside(widths: PerSample, blur: PerSampleAxis, out_of_focus: float) -> PerSampleAxis:
    """How far outside of their edge outlines lie, ``[B, 3]`` along z, y, x, voxels.

    ``widths (blur + out_of_focus (blur - least blur))``: people outline slice by slice, each slice with a contrast of
    its own, and follow an object out of focus further than they would see it from the side.

    Args:
        widths: ``[B]``, widths of the blur between edge and outline where the blur is alike along all axes.
        blur: ``[B, 3]``, width of the instrument's blur along z, y, x, voxels.
        out_of_focus: what the axes with more blur add, in units of ``widths``; 0 for nothing.
    """
    least = blur.amin(1, keepdim=True)
    return widths[:, None] * (blur + out_of_focus * (blur - least))


def lit(depth: Volume, reach: Volume, offset: PerSampleAxis) -> Bool[Tensor, "b 1 d h w"]:
    """Which voxels shine, so that an object's outline lies ``offset`` outside of what shines.

    A blur of width ``s`` puts the quarter height of a flat edge 0.67 s outside of it, with ``s`` the width along the
    edge's normal: ``|offset * grad depth|`` is that distance in the units of ``depth``, whatever map lies between
    voxels and world.

    Args:
        depth: how far below its object's surface each voxel lies, along the ray from the centre; world voxels.
        reach: how far that surface lies from the centre; world voxels.
        offset: ``[B, 3]`` along z, y, x, voxels of the sample; 0 for outlines on the edge.
    """
    return shading.emitting(depth, reach, offset, MOST)
