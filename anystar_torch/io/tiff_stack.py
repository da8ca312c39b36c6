"""A stack of TIFF pages. Pages that are stored otherwise than the first are decoded one by one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.tiff_pages import (
    check_pages,
    open_again,
    page_at,
    parsed,
    present_pages,
    segments,
    stored_alike,
)
from anystar_torch.io.tiff_tags import stored_pages
from anystar_torch.system.wording import number_of

_JOINED = ("uniform", "generic", "shaped")  # series that tifffile makes of likeness alone, not of metadata
_COMPLETE = (*_JOINED, "ome", "imagej")  # series that hold all full pages of their file
_UNNAMED = "IQ"  # tifffile's letters for an axis without a name


class Stack:
    """A series of pages that is read when it is indexed; as little of it as can be.

    Attributes:
        axes: tifffile's letter of every dimension.
        shape: size of every dimension.
        dtype: number type of the voxels.
        at_once: whether a part cannot be read without the rest.
    """

    def __init__(self, file: Any, series: Any, every: Sequence[Any], path: Path) -> None:
        self._file, self._series = file, series
        self.axes, self.shape, self.dtype = series.axes, tuple(series.shape), series.dtype
        self._page = tuple(series.keyframe.shape)
        pages = present_pages(series, path)
        left_out = _left_out(file, series, every, pages) if series.kind in _COMPLETE else []
        if left_out:
            pages = _joined(file, series, pages, left_out, path)
            self.axes = "I" + series.keyframe.axes
            self.shape = (len(pages), *self._page)
        alike = not left_out and stored_alike(pages, series.keyframe)
        pages = pages if alike else [parsed(page) for page in pages]
        check_pages(pages, path)
        self._leading = len(self.shape) - len(self._page)
        planes = int(np.prod(self.shape[: self._leading], dtype=np.int64))
        self._paged = self.shape[self._leading :] == self._page and len(pages) == planes
        self._mapped = not left_out and series.dataoffset is not None
        self._apart = None if alike else pages
        if not (self._paged or (self._mapped and alike)) and (
            self._apart is not None or 1 < len(pages) != planes
        ):
            raise ValueError(f"{path} announces {number_of(planes, 'plane')} and holds {len(pages)}")

    @property
    def at_once(self) -> bool:
        """Whether a part cannot be read without the rest."""
        return not (self._paged or self._mapped)

    def with_z(self) -> None:
        """Insert an axis Z of one plane before Y."""
        at = self.axes.index("Y")
        self.axes, self.shape = f"{self.axes[:at]}Z{self.axes[at:]}", (*self.shape[:at], 1, *self.shape[at:])
        self._leading += 1

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        if self._apart is None and self._mapped:
            kind = self.dtype.newbyteorder(self._file.byteorder)
            mapped = self._file.filehandle.memmap_array(kind, self.shape, self._series.dataoffset)
            return np.array(mapped[index])
        if not self._paged:
            whole: Shaped[np.ndarray, "..."] = self._series.asarray().reshape(self.shape)[index]
            return whole
        leading, inner = index[: self._leading], index[self._leading :]
        count = int(np.prod(self.shape[: self._leading], dtype=np.int64))
        planes = np.arange(count).reshape(self.shape[: self._leading])[leading]
        read = self._read(np.atleast_1d(planes).reshape(-1).tolist())
        array: Shaped[np.ndarray, "..."] = read.reshape(*np.shape(planes), *self._page)
        return array[(slice(None),) * np.ndim(planes) + inner]

    def _read(self, planes: list[int]) -> Shaped[np.ndarray, "..."]:
        """Planes ``[N, ...]`` by their numbers."""
        if self._apart is None:
            read: Shaped[np.ndarray, "..."] = self._file.asarray(key=planes, series=self._series)
            return read
        result = np.empty((len(planes), *self._page), self.dtype)
        for number, plane in enumerate(planes):
            page = self._apart[plane]
            with open_again(page.parent.filehandle):
                result[number] = page.asarray()
        return result


def _left_out(file: Any, series: Any, every: Sequence[Any], pages: list[Any]) -> list[int]:
    """Offsets of the full-size pages of a file that are in no series but those of planes of the same kind."""
    taken = {page.offset for page in pages}
    for other in every:
        levels = other.levels if other is not series else series.levels[1:]
        if other is series or series.kind not in _JOINED or not _is_plane(other):
            taken |= {page.offset for level in levels for page in level.pages if page is not None}
    others = [(number, offset) for number, offset in enumerate(stored_pages(file)) if offset not in taken]
    found = [page_at(file, offset, number) for number, offset in others]
    return [page.offset for page in found if not page.is_reduced and not _is_within(page, series)]


def _is_within(page: Any, series: Any) -> bool:
    """Whether a page's data lie in those of a series that is known by its first page alone, as ImageJ's are."""
    start = series.dataoffset
    if len(series.pages) > 1 or start is None or page.hash != series.keyframe.hash:
        return False
    end = start + int(np.prod(series.shape, dtype=np.int64)) * series.dtype.itemsize
    return all(start <= offset and offset + count <= end for offset, count in segments(page))


def _is_plane(series: Any) -> bool:
    """Whether a series has no more axes than one page, or an axis without a name."""
    return set(series.axes) <= set("YXS") | set(_UNNAMED)


def _joined(file: Any, series: Any, pages: list[Any], left_out: list[int], path: Path) -> list[Any]:
    """All full-size pages of a file in their order in it.

    Raises:
        ValueError: the metadata describe a stack, and the file holds more pages than it.
    """
    inner = len(series.keyframe.shape)
    planes = 1 if len(series.shape) == inner else series.shape[0]
    if (
        series.kind not in _JOINED
        or not _is_plane(series)
        or len(series.shape) > 1 + inner
        or planes != len(pages)
    ):
        raise ValueError(
            f"{path} holds {number_of(len(left_out), 'page')} beyond the stack that its metadata describe; "
            "save the stack to its own file"
        )
    wanted = {page.offset for page in pages} | set(left_out)
    return [page_at(file, at, number) for number, at in enumerate(stored_pages(file)) if at in wanted]
