"""The blocks of an N5 array, by the specification of the N5 format."""

import bz2
import json
import lzma
import struct
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.zarr_chunks import check_blosc
from anystar_torch.system.wording import number_of

ATTRIBUTES = "attributes.json"
_KINDS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
_MOST_DIMENSIONS = 6
_LZ4 = struct.Struct("<8sBIII")  # of lz4-java: mark, method and level, stored and decoded bytes, checksum
_LZ4_MARK, _LZ4_RAW, _LZ4_PACKED = b"LZ4Block", 0x10, 0x20


def attributes_of(path: Path) -> dict[str, Any]:
    """The attributes of a group or array; empty where it has none.

    Args:
        path: its folder.
    """
    if not (path / ATTRIBUTES).is_file():
        return {}
    content = json.loads((path / ATTRIBUTES).read_bytes())
    return content if isinstance(content, dict) else {}


class N5Array:
    """An N5 array ``[..., z, y, x]``; the blocks are read that an index touches. A block without a file is zero.

    Attributes:
        attributes: content of its attributes.json.
        shape: sizes of the dimensions, the last one first in the file.
        block: sizes of a block.
        dtype: number type of the voxels.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.attributes = path, attributes_of(path)
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
            raise ValueError(f"block {path} has mode {mode} and {number_of(dimensions, 'dimension')}")
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
        if kind == "lz4":
            return _lz4(content, size, where)
        raise ValueError(f"its compression {kind} is not supported; raw, gzip, bzip2, xz, lz4 and blosc are")


def _lz4(content: bytes, size: int, where: Path) -> bytes:
    """The bytes of an LZ4 stream as lz4-java writes it, in parts with a header each; ``size`` of them at most."""
    from numcodecs import lz4

    parts, length, at = [], 0, 0
    while length < size:
        if at + _LZ4.size > len(content):
            raise ValueError(f"block {where} is cut off")
        mark, token, stored, decoded, _ = _LZ4.unpack_from(content, at)
        part = content[at + _LZ4.size : at + _LZ4.size + stored]
        at, length = at + _LZ4.size + stored, length + decoded
        if mark != _LZ4_MARK or token & 0xF0 not in (_LZ4_RAW, _LZ4_PACKED):
            raise ValueError(f"block {where} is no LZ4 stream")
        if len(part) < stored or not decoded or length > size:
            raise ValueError(f"block {where} is cut off, or declares more voxels than a block has")
        # numcodecs expects the number of decoded bytes before the data
        parts.append(part if token & 0xF0 == _LZ4_RAW else lz4.decompress(struct.pack("<I", decoded) + part))
    return b"".join(parts)


def _positive(sizes: Any, name: str) -> tuple[int, ...]:
    """Sizes of the dimensions, the last one first in the file."""
    if (
        not isinstance(sizes, list)
        or not 0 < len(sizes) <= _MOST_DIMENSIONS
        or not all(isinstance(size, int) and size > 0 for size in sizes)
    ):
        raise ValueError(f"its {name} are {sizes!r}; expected positive whole numbers")
    return tuple(sizes[::-1])
