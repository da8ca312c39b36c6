"""Cubes cut out of image and labels, as if objects were occluded or data missing."""

from dataclasses import dataclass

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from anystar_torch.arrays import Labels, Volume
from anystar_torch.generator.parameters import check_chance
from anystar_torch.kernels.implementations import implementation
from anystar_torch.random.source import Source

MOST_HOLES = 31
"""One bit each of a 32-bit word."""


def coarse_dropout(
    image: Volume, labels: Labels, corner: Int64[Tensor, "b n 3"], size: Int64[Tensor, " b"]
) -> tuple[Volume, Labels]:
    """Set cubes to 0 in image and labels. They may overlap, and end at the faces.

    Args:
        image: ``[B, 1, D, H, W]``.
        labels: ``[B, 1, D, H, W]``.
        corner: ``[B, N, 3]``, the lowest (z, y, x) of up to 31 cubes.
        size: ``[B]``, edge of the cubes in voxels; 0 leaves image and labels unchanged.
    """
    if implementation(image.device) == "torch":
        return torch_coarse_dropout(image, labels, corner, size)
    cut, cut_labels = _cut_holes(image, labels, corner, size)
    return cut, cut_labels


@torch.library.custom_op("anystar::cut_holes", mutates_args=())
def _cut_holes(image: Tensor, labels: Tensor, corner: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    if implementation(image.device) == "native":
        from anystar_torch.kernels import _native

        cut = image.clone(memory_format=torch.contiguous_format)
        cut_labels = labels.clone(memory_format=torch.contiguous_format)
        for field in (cut, cut_labels):
            holes = corner.contiguous().numpy(), size.contiguous().numpy()
            _native.cut_holes(field[:, 0].numpy(), *holes, torch.get_num_threads())
        return cut, cut_labels
    from anystar_torch.kernels.triton import intensities

    return intensities.cut_holes(
        image.contiguous(), labels.contiguous(), corner.contiguous(), size.contiguous()
    )


@_cut_holes.register_fake
def _(image: Tensor, labels: Tensor, corner: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    return image.new_empty(image.shape), labels.new_empty(labels.shape)


def torch_coarse_dropout(
    image: Volume, labels: Labels, corner: Int64[Tensor, "b n 3"], size: Int64[Tensor, " b"]
) -> tuple[Volume, Labels]:
    """The plain torch implementation of :func:`coarse_dropout`."""
    depth, height, width = (
        _membership(corner[:, :, axis], size, n) for axis, n in enumerate(image.shape[2:])
    )
    plane = height[:, :, None] & width[:, None]
    hole = ((depth[:, :, None, None] & plane[:, None]) != 0)[:, None]
    return image.masked_fill(hole, 0.0), labels.masked_fill(hole, 0)


def _membership(
    corner: Int64[Tensor, "b n"], size: Int64[Tensor, " b"], length: int
) -> Int32[Tensor, "b length"]:
    """For every position of an axis a word whose bit n says whether cube n covers it."""
    offset = torch.arange(length, device=corner.device) - corner[:, :, None]
    inside = (offset >= 0) & (offset < size[:, None, None])
    bit = torch.arange(corner.shape[1], device=corner.device)
    return (inside.to(torch.int32) << bit[:, None].to(torch.int32)).sum(1, dtype=torch.int32)


@dataclass(frozen=True, kw_only=True)
class RandomCoarseDropout:
    """Cubes cut out of some samples, wholly inside the volume (MONAI ``RandCoarseDropout``).

    Attributes:
        p: chance to apply.
        holes: number of cubes, 1 to 31.
        size: edge of a cube, voxels; in a volume thinner than that the cubes span it.
    """

    p: float
    holes: int
    size: int

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        if not 1 <= self.holes <= MOST_HOLES:
            raise ValueError(f"holes must be 1 to {MOST_HOLES}, got {self.holes}")
        if self.size < 1:
            raise ValueError(f"size must be at least 1 voxel, got {self.size}")

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Cut cubes out of ``image`` and ``labels`` ``[B, 1, D, H, W]`` of the samples that draw them."""
        free = [max(n - self.size, 0) + 1 for n in image.shape[2:]]
        corner = torch.stack(
            [source.integers(f"corner{axis}", 0, n, self.holes) for axis, n in enumerate(free)], dim=-1
        )
        size = source.coin("applied", self.p).to(torch.int64) * self.size
        return coarse_dropout(image, labels, corner, size)
