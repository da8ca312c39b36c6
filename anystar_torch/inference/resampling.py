"""A volume at the scale of the network. Boxes of it are computed on demand; it never exists as a whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from anystar_torch.arrays import LazyVoxels, Triple
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.transfer import Transfer, transfer_to

Taps = tuple[Int64[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"]]
"""For each resampled voxel of an axis, a row of input voxels and a row of their weights."""

_INPUT_VOXELS = 1 << 23  # input voxels resampled at a time, to bound the memory beside the result
_MOST_INPUT_VOXELS = 1 << 25  # of one slice: beyond, its rows are resampled some at a time
_FLOAT32_SPAN = 1e-18, 1e18  # widths of intensity ranges that float32 can subtract and divide


@dataclass(frozen=True)
class ResampledVolume:
    """A volume as one pass of the network sees it.

    Attributes:
        voxels: the input, (z, y, x), of any real type.
        scaling: grids of the input and of the resampled volume.
        intensity_range: grey values that are mapped to 0 and 1.
    """

    voxels: Shaped[np.ndarray, "d h w"] | LazyVoxels
    scaling: Scaling
    intensity_range: IntensityRange

    @property
    def shape(self) -> Triple:
        """Shape of the resampled volume, (z, y, x)."""
        return self.scaling.shape

    def box(
        self, start: Triple, stop: Triple, transfer: Transfer | None = None
    ) -> Float32[Tensor, "1 1 bd bh bw"]:
        """Voxels ``start`` to ``stop`` of the resampled volume, normalised.

        Interpolation is linear. Where the volume shrinks, the triangular kernel widens to average the input voxels. A
        box may extend beyond the volume, which is continued there by its mirror image. Voxels are copied to the device
        in their own type, and normalised and interpolated there.

        Args:
            start: first voxel (z, y, x); may be negative.
            stop: voxel after the last one, (z, y, x).
            transfer: copies voxels to the device of the result; None for the CPU.
        """
        transfer = transfer or transfer_to(torch.device("cpu"))
        taps = [_taps(*axis) for axis in zip(start, stop, self.shape, self.scaling.source, strict=True)]
        slices = _slices_at_a_time(taps)
        parts = []
        (index, weight), *others = taps
        for first in range(0, len(index), slices):
            some = slice(first, first + slices)
            parts.append(self._rows([(index[some], weight[some]), *others], transfer))
        image = torch.cat(parts) if len(parts) > 1 else parts[0]
        return image[None, None]

    def _rows(self, taps: list[Taps], transfer: Transfer) -> Float32[Tensor, "bd bh bw"]:
        """The resampled voxels, some rows at a time where one slice is made of very many input voxels."""
        slab, (index, weight), columns = taps
        rows = math.ceil(len(index) * _MOST_INPUT_VOXELS / _inputs(taps))
        if len(slab[0]) > 1 or rows >= len(index):
            return self._resample(taps, transfer)
        pieces = [slice(first, first + rows) for first in range(0, len(index), rows)]
        return torch.cat(
            [self._resample([slab, (index[some], weight[some]), columns], transfer) for some in pieces], 1
        )

    def _resample(self, taps: list[Taps], transfer: Transfer) -> Float32[Tensor, "bd bh bw"]:
        """The resampled voxels that the taps of the three axes describe."""
        crop = np.asarray(
            self.voxels[tuple(slice(int(index.min()), int(index.max()) + 1) for index, _ in taps)]
        )
        intensities = self.intensity_range
        span = intensities.high - intensities.low
        if span > 0 and not _FLOAT32_SPAN[0] <= span <= _FLOAT32_SPAN[1]:
            crop = (crop.astype(np.float64) - intensities.low) / span
            intensities = replace(intensities, low=0.0, high=1.0)
        elif crop.dtype.itemsize > 4 or (crop.dtype.kind in "iu" and crop.dtype.itemsize == 4):
            # float32 has fewer digits: a large offset would leave none for the differences
            crop = crop.astype(np.float64) - intensities.low
            intensities = replace(intensities, low=0.0, high=intensities.high - intensities.low)
        places = [index - index.min() for index, _ in taps]
        along = [
            None if _is_identity(place, size) else (transfer.upload(place.T), transfer.upload(weight.T))
            for place, (_, weight), size in zip(places, taps, crop.shape, strict=True)
        ]
        return interpolated(intensities.normalise(transfer.upload_voxels(crop)), along)


def interpolated(
    image: Float32[Tensor, "d h w"],
    along: Sequence[tuple[Int64[Tensor, "..."], Float32[Tensor, "..."]] | None],
) -> Float32[Tensor, "bd bh bw"]:
    """Weighted sums of slices along each axis. The order of the sums is fixed, so that boxes agree bit for bit.

    Args:
        image: normalised voxels.
        along: per axis the ``[k, n]`` indices of the slices that form the n new ones, and their weights. None leaves
            the axis unchanged. They are on the device of the image; nothing is copied from the host.
    """
    for axis, taps in enumerate(along):
        if taps is None:
            continue
        view = [1, 1, 1]
        view[axis] = -1
        result: Tensor | None = None
        for index, weight in zip(*taps, strict=True):
            part = image.index_select(axis, index).mul_(weight.view(view))
            result = part if result is None else result.add_(part)
        assert result is not None
        image = result
    return image


def mirrored_indices(index: Int64[np.ndarray, "..."], size: int) -> Int64[np.ndarray, "..."]:
    """Indices outside of an axis, reflected into it about its first and its last voxel.

    Args:
        index: any integers.
        size: length of the axis.
    """
    if size == 1:
        return np.zeros_like(index)
    index = index % (2 * size - 2)
    reflected: Int64[np.ndarray, "..."] = np.minimum(index, 2 * size - 2 - index)
    return reflected


def _slices_at_a_time(taps: Sequence[Taps]) -> int:
    """Number of z slices of a box that are resampled together."""
    return max(1, len(taps[0][0]) * _INPUT_VOXELS // _inputs(taps))


def _inputs(taps: Sequence[Taps]) -> int:
    """Number of input voxels of a box."""
    return math.prod(int(index.max()) - int(index.min()) + 1 for index, _ in taps)


def _taps(start: int, stop: int, size: int, source: int) -> Taps:
    """Input voxels and weights of the resampled voxels ``start`` to ``stop`` of an axis.

    Args:
        start: first resampled voxel.
        stop: resampled voxel after the last one.
        size: length of the axis in resampled voxels.
        source: length of the axis in input voxels.
    """
    place = mirrored_indices(np.arange(start, stop), size)
    ratio = source / size
    reach = max(ratio, 1.0)
    centre = (place + 0.5) * ratio - 0.5
    first = np.ceil(centre - reach).astype(np.int64)
    index = first[:, None] + np.arange(math.floor(2 * reach) + 1)
    weight = np.maximum(0.0, 1 - np.abs(index - centre[:, None]) / reach)
    weight[(index < 0) | (index >= source)] = 0
    used = weight.max(axis=0) > 0
    weight /= weight.sum(axis=1, keepdims=True)
    return index.clip(0, source - 1)[:, used], weight[:, used].astype(np.float32)


def _is_identity(index: Int64[np.ndarray, "n k"], size: int) -> bool:
    """Whether interpolation along an axis would take every voxel once, in order."""
    return index.shape[1] == 1 and len(index) == size and bool((np.diff(index[:, 0]) == 1).all())
