"""Where in the synthetic world each voxel of a sample looks: the one map that all spatial effects compose.

AnyStar resamples its volume three times in a row (zoom, affine, elastic), and its labels with it. Here the effects
act on coordinates, from the finished sample back to the world, and the world, which is a function of position, is
evaluated once at the end. Labels are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis

NEVER = 1e6
"""A half-width, in voxels, at which no volume is ever reflected."""


@dataclass(frozen=True)
class Coordinates:
    """What every voxel of the finished sample looks at, in some volume on the way back to the world.

    Attributes:
        position: ``[B, 3, D, H, W]`` float32, (z, y, x) in voxels from the centre of that volume.
        size: ``[B, 3]``, the size of that volume in voxels.
        piece: ``[B, 1, D, H, W]`` int32, the number of the mirror image looked at: 27 values a reflection.
        cover: ``[B, 1, D, H, W]`` in [0, 1], how much of the voxel lies inside the recorded volume; what is outside
            is zero in the finished image, and has no labels.
        fraction: ``[B, 3, D, H, W]`` in [0, 1), where between the voxels of the recorded volume the voxel lies.
        spread: ``[B]``, variance in squared voxels and per axis of the blur that the original's zoom gives an edge.
            The image, which is not interpolated here, gets it as a blur.
    """

    position: Float32[Tensor, "b 3 d h w"]
    size: PerSampleAxis
    piece: Int32[Tensor, "b 1 d h w"]
    cover: Float32[Tensor, "b 1 d h w"]
    fraction: Float32[Tensor, "b 3 d h w"]
    spread: PerSample

    @classmethod
    def of_grid(cls, shape: Sequence[int], size: PerSampleAxis) -> "Coordinates":
        """A finished sample of ``shape`` in the centre of a recorded volume of ``size`` ``[B, 3]`` voxels."""
        batch, device = size.shape[0], size.device
        axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in shape]
        position = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(batch, -1, -1, -1, -1)
        piece = torch.zeros(batch, 1, *shape, dtype=torch.int32, device=device)
        cover = torch.ones(batch, 1, *shape, device=device)
        return cls(
            position, size, piece, cover, torch.zeros_like(position), torch.zeros(batch, device=device)
        )

    def reflected(self, half: PerSampleAxis) -> "Coordinates":
        """Looks outside ``-half .. half`` (``[B, 3]``, voxels) are folded back as by mirrors at the two faces."""
        half = half[:, :, None, None, None]
        turn = self.position / (2.0 * half)
        turn = (turn.abs() - 0.5).ceil_().clamp_(0.0, 1.0).copysign_(turn)  # a face belongs to the inside
        folded = self.position - turn * (2.0 * half)
        folded = folded * (1.0 - 2.0 * turn.abs())
        number = turn[:, :1] * 9.0 + turn[:, 1:2] * 3.0 + turn[:, 2:] + 13.0
        return replace(self, position=folded, piece=self.piece * 27 + number.to(torch.int32))


def matrix_product(matrix: Float32[Tensor, "b 3 3"], position: Tensor) -> Tensor:
    """``matrix @ position`` for ``[B, 3, ...]``, written out: a batched matmul rounds differently at B = 1."""
    coefficient = matrix[(...,) + (None,) * (position.dim() - 2)].unbind(1)
    z, y, x = position.unbind(1)
    return torch.stack([row[:, 0] * z + row[:, 1] * y + row[:, 2] * x for row in coefficient], dim=1)
