"""Chunks of Zarr arrays and blocks of N5, checked before they are decoded."""

import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

_BLOSC_HEADER = 16  # bytes: versions, flags, size of an item, then three sizes of 4 bytes


def check_blosc(header: bytes, stored: int, decoded: int, where: Path) -> None:
    """Refuse a chunk of Blosc that is cut off, which the library would decode to bytes beyond its end, or too large.

    Args:
        header: the first 16 bytes of the chunk, or fewer where it has no more.
        stored: number of bytes that the chunk has.
        decoded: number of bytes of its voxels.
        where: its file, for errors.

    Raises:
        ValueError: the chunk has fewer bytes than its header declares, or declares more voxels than a chunk has.
    """
    if len(header) < _BLOSC_HEADER:
        raise ValueError(f"chunk {where} is cut off")
    voxels, _, bytes_ = struct.unpack_from("<III", header, 4)
    if bytes_ > stored:
        raise ValueError(f"chunk {where} is cut off")
    if voxels > decoded:
        raise ValueError(f"chunk {where} declares {voxels} bytes of voxels; expected {decoded}")


class CheckedArray:
    """A Zarr array whose chunks are checked before they are read.

    Attributes:
        shape: sizes of the dimensions.
    """

    def __init__(self, array: Any) -> None:
        self._array, self.shape = array, tuple(array.shape)
        codecs = " ".join(type(codec).__name__.lower() for codec in getattr(array, "compressors", ()) or ())
        root = getattr(array.store, "root", None)  # of a store in a folder
        self._folder = None if root is None else Path(str(root)) / array.path
        shards = getattr(array, "shards", None)
        self._block = shards or array.chunks  # voxels of a file
        self._blosc = "blosc" in codecs and not shards

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        decoded = int(np.prod(self._block, dtype=np.int64)) * self._array.dtype.itemsize
        for file in self._files(index) if self._folder is not None else ():
            if not file.is_file():  # a chunk without a file has the fill value in every voxel
                continue
            stored = file.stat().st_size
            if not stored:  # zarr takes an empty shard for one without a file
                raise ValueError(f"chunk {file} is cut off (0 bytes)")
            if self._blosc:
                with open(file, "rb") as stream:
                    check_blosc(stream.read(_BLOSC_HEADER), stored, decoded, file)
        return np.asarray(self._array[index])

    def _files(self, index: tuple[Any, ...]) -> list[Path]:
        """The files of the chunks or shards that an index touches."""
        touched = []
        for one, size, block in zip(index, self.shape, self._block, strict=True):
            begin, end, _ = (one, one + 1, 1) if isinstance(one, int | np.integer) else one.indices(size)
            touched.append(range(begin // block, (end - 1) // block + 1))
        assert self._folder is not None
        return [self._folder / self._array.metadata.encode_chunk_key(chunk) for chunk in product(*touched)]
