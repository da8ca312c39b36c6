"""A second look from further away: what is an object there as well is one more surely.

A network trained on objects of many sizes also knows those of a volume when they are shown smaller than they should
be, and errs in other ways then: debris, texture and fragments of an object are gone, a faint object stands out from its
noise. Shapes are seen better close by. So the score of a candidate is the geometric mean of its probability in both
looks, its distances are those of the closer one, and the second look costs 30 % of the first. What is far smaller
than the median object loses by it.

No counterpart in StarDist or AnyStar, which look once.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Transfer, transfer_to

FURTHER = 1.5
"""How much smaller objects are in the second look."""


def stands(band: tuple[float, float, float]) -> bool:
    """Whether a network that knows sizes of ``band`` (least, median, largest) knows the median object from there."""
    least, median, _ = band
    return least * FURTHER <= median


@dataclass(frozen=True)
class SecondLook:
    """How probable objects are from further away.

    Attributes:
        probability: float32 ``[d, h, w]`` on the CPU, of the whole volume: one number for 3.4 of the closer look.
        far: where the second look's voxels lie in the input.
        near: where the first look's lie.
        grid: voxels per number, in both looks.
    """

    probability: Tensor
    far: Scaling
    near: Scaling
    grid: Triple

    @staticmethod
    def size(far: Scaling, grid: Triple) -> int:
        """Bytes that the probability takes."""
        return 4 * math.prod(-(-size // step) for size, step in zip(far.shape, grid, strict=True))

    def combined(self, probability: Tensor, tile: Tile, transfer: Transfer | None = None) -> Tensor:
        """The geometric mean of both looks, same shape.

        Args:
            probability: ``[1, d, h, w]`` of a tile in the first look.
            tile: where the tile lies; its start is a multiple of the grid.
            transfer: copies the second look's part to the device of the first; None for what suits it.
        """
        upload = (transfer or transfer_to(probability.device)).upload
        seen = self.probability
        axes = zip(tile.start, self.grid, probability.shape[1:], range(3), strict=True)
        taps = [self._taps(start, step, count, axis) for start, step, count, axis in axes]
        for axis, (left, _) in enumerate(taps):
            first, stop = int(left[0]), min(int(left[-1]) + 2, seen.shape[axis])
            seen = seen.narrow(axis, first, stop - first)
        seen = upload(seen.numpy())
        for axis, (left, share) in enumerate(taps):
            seen = _between(seen, axis, upload(left - left[0]), upload(share))
        return (probability * seen).sqrt_()

    def _taps(
        self, start: int, step: int, count: int, axis: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """For each of ``count`` grid points the number of the second look before it, and the share of the next one."""
        voxel = start + step * np.arange(count)
        there = ((voxel + 0.5) * self.near.ratio[axis] / self.far.ratio[axis] - 0.5) / step
        last = self.probability.shape[axis] - 1
        there = there.clip(0, last)
        left = np.minimum(there.astype(np.int64), max(last - 1, 0))
        return left, (there - left).astype(np.float32)


def _between(seen: Tensor, axis: int, left: Tensor, share: Tensor) -> Tensor:
    """Linear interpolation along an axis, all on one device."""
    view = [1, 1, 1]
    view[axis] = -1
    right = (left + 1).clamp_(max=seen.shape[axis] - 1)
    return torch.lerp(seen.index_select(axis, left), seen.index_select(axis, right), share.view(view))
