"""One channel of a file as an array of all its time points, for Dask and for NumPy."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch import io
from anystar_torch.io.identity import version_of

_CHUNK = 1 << 20  # bytes; smaller blocks of a store are read together


class FileArray:
    """The time points of a channel ``[T, D, H, W]``, of which only those boxes are read that an index names.

    Attributes:
        shape: number of time points, and of voxels (z, y, x).
        dtype: number type of the voxels.

    Args:
        volume: the first time point and channel of the file.
        channel: index of the channel.
    """

    ndim = 4

    def __init__(self, volume: io.LazyVolume, channel: int) -> None:
        self._volume, self._channel = volume, channel
        self.shape = (volume.frames, *volume.shape)
        self.dtype = volume.dtype

    def __getitem__(self, index: tuple[int | slice, ...]) -> Shaped[np.ndarray, "..."]:
        """Voxels of an index of four integers and slices, as Dask gives them."""
        bounds = [_bounds(one, size) for one, size in zip(index, self.shape, strict=True)]
        frames, *box = (outer for outer, _ in bounds)
        read = np.empty([outer.stop - outer.start for outer in (frames, *box)], self.dtype)
        channel = self._channel if self._volume.channels > 1 else None
        for number, frame in enumerate(range(frames.start, frames.stop)):
            read[number] = self._volume.part(tuple(box), frame if self.shape[0] > 1 else None, channel)
        inside: Shaped[np.ndarray, "..."] = read[tuple(inner for _, inner in bounds)]
        return inside

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """What tells the array from others, also after the viewer was started again."""
        choice = self._volume.choice
        path = Path(choice.path)
        return str(path.absolute()), version_of(io.container(path)), choice.scene, choice.level, self._channel

    @property
    def chunks(self) -> tuple[int, ...]:
        """Sizes of the parts that are read at once: blocks of a store, or planes of other files."""
        _, *sizes = self.shape
        blocks: Sequence[int] = self._volume.blocks or (1, *sizes[1:])
        if self._volume.blocks is not None:
            most = _CHUNK / (math.prod(blocks) * self.dtype.itemsize)
            blocks = [block * max(1, round(most ** (1 / 3))) for block in blocks]
        return (1, *(min(block, size) for block, size in zip(blocks, sizes, strict=True)))

    def lazy(self) -> Any:
        """The array as a Dask array."""
        import dask.array

        meta = np.empty((0,) * self.ndim, self.dtype)
        return dask.array.from_array(self, chunks=self.chunks, fancy=False, meta=meta)


def _bounds(index: int | slice, size: int) -> tuple[slice, int | slice]:
    """The slice without steps that an index needs, and the index within it."""
    if not isinstance(index, slice):
        place = range(size)[index]
        return slice(place, place + 1), 0
    places = range(size)[index]
    if not places:
        return slice(0, 0), slice(None)
    low, high = min(places[0], places[-1]), max(places[0], places[-1])
    return slice(low, high + 1), slice(None, None, places.step)
