"""Cubes removed from image and labels, as if objects were occluded or data were missing."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.arrays import Labels, Volume
from anystar_torch.generator.parameters import check_chance, check_whole
from anystar_torch.kernels.intensities import cut_holes
from anystar_torch.random.source import Source

MOST_HOLES = 31
"""One bit each of a 32-bit word."""


def coarse_dropout(
    image: Volume, labels: Labels, corner: Int64[Tensor, "b n 3"], size: Int64[Tensor, " b"]
) -> tuple[Volume, Labels]:
    """Set cubes to 0 in image and labels. Cubes may overlap, and end at the faces.

    Args:
        image: ``[B, 1, D, H, W]``.
        labels: ``[B, 1, D, H, W]``.
        corner: ``[B, N, 3]``, the lowest (z, y, x) of up to 31 cubes.
        size: ``[B]``, edge of the cubes in voxels; 0 leaves image and labels unchanged.
    """
    return cut_holes(image, labels, corner, size)


@dataclass(frozen=True, kw_only=True)
class RandomCoarseDropout:
    """Cubes removed from some samples, inside of the volume (MONAI ``RandCoarseDropout``).

    Attributes:
        p: chance to apply.
        holes: number of cubes, 1 to 31.
        size: edge of a cube, voxels; in a thinner volume, cubes go from face to face.
    """

    p: float
    holes: int
    size: int

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_whole("holes", self.holes, 1, MOST_HOLES)
        check_whole("size", self.size, 1)

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Remove cubes from ``image`` and ``labels`` ``[B, 1, D, H, W]`` of some samples."""
        free = [max(n - self.size, 0) + 1 for n in image.shape[2:]]
        corner = torch.stack(
            [source.integers(f"corner{axis}", 0, n, self.holes) for axis, n in enumerate(free)], dim=-1
        )
        size = source.coin("applied", self.p).to(torch.int64) * self.size
        return coarse_dropout(image, labels, corner, size)
