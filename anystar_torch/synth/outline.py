"""Where people draw outlines: outside of an edge that an instrument has blurred, at about a quarter of its height."""

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis

MOST = 0.45
"""The largest part of a radius that may stay dark; else small objects would vanish behind a wide blur."""

Field = Float32[Tensor, "b 1 d h w"]


def lit(depth: Field, reach: Field, offset: PerSampleAxis) -> Bool[Tensor, "b 1 d h w"]:
    """Which voxels shine, so that an object's outline lies ``offset`` outside of what shines.

    A blur of width ``s`` puts the quarter height of a flat edge 0.67 s outside of it, with ``s`` the width along the
    edge's normal: ``|offset * grad depth|`` is that distance in the units of ``depth``, whatever map lies between
    voxels and world.

    Args:
        depth: how far below its object's surface each voxel lies, along the ray from the centre; world voxels.
        reach: how far that surface lies from the centre; world voxels.
        offset: ``[B, 3]`` along z, y, x, voxels of the sample; 0 for outlines on the edge.
    """
    total: Tensor | None = None
    for axis in range(3):
        (slope,) = torch.gradient(depth, dim=axis + 2)
        part = (slope * offset[:, axis, None, None, None, None]).square_()
        total = part if total is None else total.add_(part)
    assert total is not None
    return depth > torch.minimum(total.sqrt_(), MOST * reach)
