"""The coarse pass: the network also sees the volume with objects 1.5 times smaller.

A candidate's score is the geometric mean of its probabilities in both passes; its distances are those of the fine pass.
This suppresses debris, texture and fragments, which do not look like objects at the coarser scale. It costs 30 % more
work, and objects far smaller than the median one are lost. StarDist and AnyStar have one pass only.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import LazyVoxels, Triple
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Transfer, transfer_to

COARSE_FACTOR = 1.5
"""Object size of the fine pass over that of the coarse pass."""


def knows_coarse_objects(diameter_band: tuple[float, float, float]) -> bool:
    """Whether the median object, shrunk by the coarse factor, is within the diameters the network was trained on.

    Args:
        diameter_band: 5 % quantile, median and 95 % quantile of the training objects' diameters.
    """
    least, median, _ = diameter_band
    return least * COARSE_FACTOR <= median


def grid_shape(shape: Triple, grid: Triple) -> Triple:
    """Shape of the prediction of a volume.

    Args:
        shape: shape of the volume, (z, y, x).
        grid: subsampling of the prediction, (z, y, x).
    """
    z, y, x = (-(-size // step) for size, step in zip(shape, grid, strict=True))
    return z, y, x


@dataclass(frozen=True)
class CoarsePass:
    """The probabilities of the coarse pass.

    Attributes:
        probability: probabilities of the whole volume on the coarse grid, on the CPU: a tensor, or what reads a box of
            them from files. There are 3.4 times fewer than in the fine pass.
        coarse: scaling of the coarse pass.
        fine: scaling of the fine pass.
        grid: subsampling of the predictions of both passes, (z, y, x).
    """

    probability: Float32[Tensor, "d h w"] | LazyVoxels
    coarse: Scaling
    fine: Scaling
    grid: Triple

    @staticmethod
    def nbytes(shape: Triple, grid: Triple) -> int:
        """Bytes of the probabilities.

        Args:
            shape: shape of the volume in the coarse pass.
            grid: subsampling of the prediction.
        """
        return 4 * math.prod(grid_shape(shape, grid))

    def combine(
        self, probability: Float32[Tensor, "1 d h w"], tile: Tile, transfer: Transfer | None = None
    ) -> Float32[Tensor, "1 d h w"]:
        """The geometric mean of the probabilities of both passes.

        The coarse probabilities are interpolated linearly at the grid points of the fine pass.

        Args:
            probability: probabilities of a tile in the fine pass.
            tile: the tile; its start is a multiple of the grid.
            transfer: copies coarse probabilities to the device of the fine ones; None for the device's own.
        """
        upload = (transfer or transfer_to(probability.device)).upload
        axes = zip(tile.start, self.grid, probability.shape[1:], range(3), strict=True)
        taps = [self._taps(start, step, count, axis) for start, step, count, axis in axes]
        bounds = zip(taps, self.probability.shape, strict=True)
        place = tuple(slice(int(left[0]), min(int(left[-1]) + 2, size)) for (left, _), size in bounds)
        coarse = upload(np.asarray(self.probability[place]))
        for axis, (left, share) in enumerate(taps):
            coarse = interpolate_axis(coarse, axis, upload(left - left[0]), upload(share))
        return (probability * coarse).sqrt_()

    def _taps(
        self, start: int, step: int, count: int, axis: int
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """For each of ``count`` fine grid points, the coarse grid point before it and the share of the next one."""
        voxel = start + step * np.arange(count)
        place = ((voxel + 0.5) * self.fine.ratio[axis] / self.coarse.ratio[axis] - 0.5) / step
        last = self.probability.shape[axis] - 1
        place = place.clip(0, last)
        left = np.minimum(place.astype(np.int64), max(last - 1, 0))
        return left, (place - left).astype(np.float32)


def interpolate_axis(
    values: Float32[Tensor, "_ _ _"], axis: int, left: Int64[Tensor, " n"], share: Float32[Tensor, " n"]
) -> Float32[Tensor, "_ _ _"]:
    """Linear interpolation along one axis; all tensors are on one device.

    Args:
        values: values at grid points.
        axis: the axis, 0 to 2.
        left: grid point before each of the n new ones.
        share: weight of the grid point after it, in [0, 1].
    """
    view = [1, 1, 1]
    view[axis] = -1
    right = (left + 1).clamp_(max=values.shape[axis] - 1)
    return torch.lerp(values.index_select(axis, left), values.index_select(axis, right), share.view(view))
