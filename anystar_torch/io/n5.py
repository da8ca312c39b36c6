"""N5 arrays, which are only read: a folder of blocks whose dimensions are stored x first."""

import bz2
import json
import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.zarr_chunks import check_blosc

_ATTRIBUTES = "attributes.json"
_KINDS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
_MOST_NAMED = 5  # arrays that a message lists
_MOST_DIMENSIONS = 6


def is_n5(path: Path) -> bool:
    """Whether a folder is an N5 container, or an array or a group in one.

    Args:
        path: of a folder; a file gives False.
    """
    return path.is_dir() and (path / _ATTRIBUTES).is_file()


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open an array, or the only array of a container.

    Args:
        path: the folder of the container or of an array in it.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the array is broken, or which of several arrays is meant is unknown.
    """
    with readable(path, "N5"):
        array = N5Array(_array_in(path))
        check_size(array.block, array.dtype, str(path))
        sizes, units = _sizes(array.attributes, len(array.shape))
        names = array.attributes.get("axes") or [""] * len(array.shape)
        yield StoredImage(
            array=array,
            dtype=array.dtype,
            axes=tuple(map(str, names[::-1])),
            sizes=sizes,
            units=units,
            style="array",
        )


def record_text(path: Path) -> str | None:
    """None: nothing is written as N5.

    Args:
        path: not used.
    """
    return None


def _array_in(path: Path) -> Path:
    """The folder of the only array at full resolution in a folder."""
    if "dimensions" in _attributes(path):
        return path
    found = [
        inner.parent for inner in sorted(path.rglob(_ATTRIBUTES)) if "dimensions" in _attributes(inner.parent)
    ]
    full = [
        inner
        for inner in found
        if not (inner.name[:1] == "s" and inner.name[1:].isdecimal()) or inner.name == "s0"
    ]
    if len(full) != 1:
        listed = ", ".join(str(inner.relative_to(path)) for inner in full[:_MOST_NAMED])
        example = f"; give one of them, as in {full[0]}" if full else ""
        raise ValueError(f"{path} holds {len(full)} arrays ({listed}){example}")
    return full[0]


def _attributes(path: Path) -> dict[str, Any]:
    content = json.loads((path / _ATTRIBUTES).read_text())
    return content if isinstance(content, dict) else {}


def _sizes(attributes: dict[str, Any], dimensions: int) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and units by axis, from "resolution" and "units" or from "pixelResolution"; x is first there."""
    given, units = attributes.get("resolution"), attributes.get("units")
    pixel = attributes.get("pixelResolution")
    if pixel is not None:
        given = pixel["dimensions"] if isinstance(pixel, dict) else pixel
        units = [pixel.get("unit")] * dimensions if isinstance(pixel, dict) else None
    names = [str(name).lower() for name in attributes.get("axes") or "xyz"]
    if not isinstance(given, list) or len(given) != dimensions or len(names) != dimensions:
        return {}, {}
    known = units if isinstance(units, list) and len(units) == dimensions else [None] * dimensions
    return dict(zip(names, given, strict=True)), dict(zip(names, known, strict=True))


class N5Array:
    """An N5 array ``[..., z, y, x]``; the blocks are read that an index touches. A block without a file is zero.

    Attributes:
        attributes: content of its attributes.json.
        shape: sizes of the dimensions, the last one first in the file.
        block: sizes of a block.
        dtype: number type of the voxels.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.attributes = path, _attributes(path)
        self.shape = _positive(self.attributes["dimensions"], "dimensions")
        self.block = _positive(self.attributes["blockSize"], "blockSize")
        kind = self.attributes["dataType"]
        if kind not in _KINDS or len(self.block) != len(self.shape):
            raise ValueError(f"an array of {kind} in blocks of {self.block} is not supported")
        self.dtype = np.dtype(kind)
        stored = self.attributes.get("compression") or {"type": self.attributes.get("compressionType", "raw")}
        self._compression = stored if isinstance(stored, dict) else {"type": stored}

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        ranges = [
            range(one, one + 1) if isinstance(one, int | np.integer) else range(*one.indices(size))
            for one, size in zip(index, self.shape, strict=True)
        ]
        result = np.zeros([len(one) for one in ranges], self.dtype)
        touched = [range(one[0] // n, one[-1] // n + 1) for one, n in zip(ranges, self.block, strict=True)]
        for block in product(*touched):
            begins = [number * size for number, size in zip(block, self.block, strict=True)]
            content = self._content(block)
            if content is None:
                continue
            into, source = [], []
            for one, begin, size in zip(ranges, begins, content.shape, strict=True):
                low, high = max(one[0], begin), min(one[-1] + 1, begin + size)
                into.append(slice(max(low - one[0], 0), max(high - one[0], 0)))
                source.append(slice(max(low - begin, 0), max(high - begin, 0)))
            result[tuple(into)] = content[tuple(source)]
        dropped = tuple(0 if isinstance(one, int | np.integer) else slice(None) for one in index)
        array: Shaped[np.ndarray, "..."] = result[dropped]
        return array

    def _content(self, block: Sequence[int]) -> Shaped[np.ndarray, "..."] | None:
        """A block by its number along every dimension; None where it has no file."""
        path = self._path.joinpath(*map(str, block[::-1]))
        if not path.is_file():
            return None
        stored = path.read_bytes()
        mode, dimensions = struct.unpack_from(">HH", stored)
        if mode != 0 or dimensions != len(self.shape):
            raise ValueError(f"block {path} has mode {mode} and {dimensions} dimensions")
        shape = struct.unpack_from(f">{dimensions}I", stored, 4)
        if any(size > most for size, most in zip(shape[::-1], self.block, strict=True)):
            raise ValueError(f"block {path} declares {shape} voxels")
        voxels = int(np.prod(shape, dtype=np.int64))
        content = self._decompressed(stored[4 + 4 * dimensions :], voxels * self.dtype.itemsize, path)
        return np.frombuffer(content, self.dtype.newbyteorder(">"), voxels).reshape(shape[::-1])

    def _decompressed(self, content: bytes, size: int, where: Path) -> bytes:
        """The bytes of a block; no more than its header declares are kept."""
        kind = str(self._compression.get("type"))
        if kind == "raw":
            return content
        if kind == "gzip":
            wbits = zlib.MAX_WBITS if self._compression.get("useZlib") else zlib.MAX_WBITS | 16
            return zlib.decompressobj(wbits).decompress(content, size)
        if kind == "bzip2":
            return bz2.BZ2Decompressor().decompress(content, size)
        if kind == "xz":
            return lzma.LZMADecompressor().decompress(content, size)
        if kind == "blosc":
            from numcodecs import blosc

            check_blosc(content, len(content), size, where)
            return bytes(blosc.decompress(content))
        raise ValueError(f"its compression {kind} is not supported; raw, gzip, bzip2, xz and blosc are")


def _positive(sizes: Any, name: str) -> tuple[int, ...]:
    """Sizes of the dimensions, the last one first in the file."""
    if (
        not isinstance(sizes, list)
        or not 0 < len(sizes) <= _MOST_DIMENSIONS
        or not all(isinstance(size, int) and size > 0 for size in sizes)
    ):
        raise ValueError(f"its {name} are {sizes!r}; expected positive whole numbers")
    return tuple(sizes[::-1])
