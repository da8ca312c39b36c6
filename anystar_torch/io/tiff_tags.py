"""How every page of a TIFF file is stored, from its own tags: fast, and without decoding."""

import struct
from dataclasses import dataclass
from typing import Any

#: Tags that decide how a page's data are decoded: size, bits, compression, strips or tiles, predictor, number type.
_DECODING = frozenset(
    (
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        277,
        278,
        284,
        292,
        293,
        317,
        322,
        323,
        338,
        339,
        347,
        530,
        532,
        32997,
        32998,
        34892,
    )
)
_DATA = (273, 324)  # StripOffsets, TileOffsets
_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_LONGEST = 1 << 16  # bytes of one tag


@dataclass(frozen=True)
class StoredPage:
    """How one page is stored.

    Attributes:
        decoding: bytes of the tags that decide how it is decoded; equal where two pages are decoded alike.
        data: where its data begin, if one strip or tile holds them; else None.
    """

    decoding: bytes
    data: int | None


def stored_pages(file: Any) -> dict[int, StoredPage]:
    """The pages of an open file of tifffile, by the offsets of their tags, in their order in the file.

    The walk ends where the file does, or where its pages point back; tifffile logs both as errors.

    Args:
        file: a TIFF file that tifffile opened.
    """
    tiff, handle = file.tiff, file.filehandle
    handle.seek(4 if tiff.offsetsize == 4 else 8)
    pages: dict[int, StoredPage] = {}
    offset = _unpacked(tiff.offsetformat, handle.read(tiff.offsetsize))
    while offset and offset not in pages and offset < handle.size:
        handle.seek(offset)
        count = _unpacked(tiff.tagnoformat, handle.read(tiff.tagnosize))
        if count is None or count > 4096:
            break
        tags = handle.read(count * tiff.tagsize)
        following = _unpacked(tiff.offsetformat, handle.read(tiff.offsetsize))
        if len(tags) < count * tiff.tagsize:
            break
        pages[offset] = _page(tags, tiff, handle)
        offset = following
    return pages


def _page(tags: bytes, tiff: Any, handle: Any) -> StoredPage:
    """How the page with these tags is stored."""
    order, size = tiff.byteorder, tiff.offsetsize
    decoding, data = [], None
    for code, type_, count, value in struct.iter_unpack(f"{order}HH{'I4s' if size == 4 else 'Q8s'}", tags):
        if code not in _DECODING and code not in _DATA:
            continue
        length = count * _BYTES.get(type_, 1)
        if code in _DATA:
            data = _integer(value[:length], order) if count == 1 else None
            continue
        if length > size:
            handle.seek(_integer(value, order))
            value = handle.read(min(length, _LONGEST))
        decoding.append(struct.pack("<HHQ", code, type_, count) + value[:length])
    return StoredPage(b"".join(decoding), data)


def _unpacked(format_: str, content: bytes) -> int | None:
    """One integer, None where the file ends before it."""
    return int(struct.unpack(format_, content)[0]) if len(content) == struct.calcsize(format_) else None


def _integer(content: bytes, order: str) -> int:
    return int.from_bytes(content, "big" if order == ">" else "little")
