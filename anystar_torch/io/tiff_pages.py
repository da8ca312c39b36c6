"""Pages of a TIFF file, each checked against what it is decoded as.

tifffile decodes the pages of a series as it decodes the first of them, and gives zeros for pages that are not there.
Here every page is parsed by itself. Pages that are stored otherwise are decoded one by one; pages that are missing,
left out or of another size or number type are an error.
"""

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.tiff_tags import StoredPage, stored_pages

#: Warnings of tifffile that say nothing of the voxels: about tags of other programs and about texts.
_HARMLESS = re.compile(
    r"TiffTag|read_tags|read_utf8|read_json|coercing|GDAL|GeoKey|uic|_tags>|STK Datetime|fluoview|imagej_metadata>"
    r"|read_colormap|lsm_|olympus_ini|get_resolution|eer_xml|subfiletype|MMStack file name|SonyRaw"
)
_JOINED = ("uniform", "generic", "shaped")  # series that tifffile makes of likeness alone, not of metadata
_COMPLETE = (*_JOINED, "ome", "imagej")  # series that hold all full pages of their file
_UNNAMED = "IQ"  # tifffile's letters for an axis without a name


class _Complaints(logging.Handler):
    """Collects the errors and warnings that tifffile logs while it goes on with part of a broken file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.errors: list[str] = []  # those of ``lines`` that say that the file is broken
        self.reader = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.thread != self.reader:  # another thread's file is its own affair
            return
        if record.levelno >= logging.ERROR or not _HARMLESS.search(line):
            self.lines.append(re.sub(r"^<tifffile\.Tiff\w+ [^>]*> ", "", line))
            self.errors += self.lines[-1:] if record.levelno >= logging.ERROR else []


@contextmanager
def complained(path: Path) -> Iterator[Any]:
    """Open a TIFF file; what tifffile only logs (a truncated file, missing planes) is an error here.

    Args:
        path: the file.

    Yields:
        The file, opened by tifffile.

    Raises:
        ValueError: the file is no TIFF file, or part of it is not there; one line.
    """
    import tifffile

    log, complaints = logging.getLogger("tifffile"), _Complaints()
    log.addHandler(complaints)
    try:
        with readable(path, "TIFF"), tifffile.TiffFile(path) as file:
            if not len(file.pages):
                raise ValueError("it has no pages")
            try:
                yield file
            except ValueError as error:  # what is left of a broken file is rarely a volume
                if complaints.errors:
                    raise ValueError(complaints.errors[0]) from error
                raise
            except RuntimeError as error:
                if "incompatible keyframe" not in str(error):
                    raise
                raise ValueError(
                    "its planes are stored in different strips or tiles; save it anew with planes stored alike"
                ) from error
            if complaints.lines:
                raise ValueError(complaints.lines[0])
    finally:
        log.removeHandler(complaints)


def check_set(file: Any, path: Path) -> None:
    """Refuse an OME-TIFF whose planes lie in other files that are not there or cannot be opened.

    Args:
        file: an OME-TIFF that tifffile opened.
        path: of that file; the others of its set lie in the same folder.

    Raises:
        ValueError: names the first such file.
    """
    root = ElementTree.fromstring(file.ome_metadata)
    uuids = {part.get("FileName") or "": part.text for part in root.iter() if part.tag.endswith("UUID")}
    for name, uuid in uuids.items():
        if uuid == root.get("UUID") or name in ("", path.name):
            continue
        other = path.parent / name
        told = f"{path} is one file of a set: {other} holds other planes of it"
        if not other.is_file():
            raise ValueError(f"{told}, and is not there")
        try:
            with complained(other) as part:
                len(part.pages)
        except ValueError as error:
            raise ValueError(f"{told}, and cannot be read") from error


class Stack:
    """A series of pages that is read when it is indexed; as little of it as can be.

    Attributes:
        axes: tifffile's letter of every dimension.
        shape: size of every dimension.
        dtype: number type of the voxels.
        at_once: whether a part cannot be read without the rest.
    """

    def __init__(self, file: Any, series: Any, path: Path) -> None:
        self._file, self._series = file, series
        self.axes, self.shape, self.dtype = series.axes, tuple(series.shape), series.dtype
        self._page = tuple(series.keyframe.shape)
        pages = _present(series, path)
        left_out = _left_out(file, series, pages) if series.kind in _COMPLETE else []
        if left_out:
            pages = _joined(file, series, pages, left_out, path)
            self.axes = "I" + series.keyframe.axes
            self.shape = (len(pages), *self._page)
        alike = not left_out and _alike(pages, series.keyframe)
        pages = pages if alike else [_parsed(page) for page in pages]
        _check(pages, path)
        self._leading = len(self.shape) - len(self._page)
        planes = int(np.prod(self.shape[: self._leading], dtype=np.int64))
        self._paged = self.shape[self._leading :] == self._page and len(pages) == planes
        self._mapped = not left_out and series.dataoffset is not None
        self._apart = None if alike else pages
        if not (self._paged or (self._mapped and alike)) and (
            self._apart is not None or 1 < len(pages) != planes
        ):
            raise ValueError(f"{path} announces {planes} planes and holds {len(pages)}")

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
            with _open_again(page.parent.filehandle):
                result[number] = page.asarray()
        return result


def _present(series: Any, path: Path) -> list[Any]:
    """The pages of a series.

    Raises:
        ValueError: the file announces planes that it does not hold.
    """
    pages = list(series.pages)  # parsed anew at every access
    missing = [number for number, page in enumerate(pages) if page is None]
    if missing:
        raise ValueError(
            f"{path} announces {len(pages)} planes and {len(missing)} of them are missing, the first is plane "
            f"{missing[0]}; is it one file of a set, or was its recording stopped?"
        )
    return pages


def _alike(pages: Sequence[Any], keyframe: Any) -> bool:
    """Whether every page is stored as the page that all are decoded like."""
    stored: dict[int, dict[int, StoredPage]] = {}

    def of(page: Any) -> StoredPage | None:
        if id(page.parent) not in stored:
            with _open_again(page.parent.filehandle):
                stored[id(page.parent)] = stored_pages(page.parent)
        return stored[id(page.parent)].get(page.offset)

    like = of(keyframe)
    for page in pages:
        own = of(page)
        if page is keyframe or not page.offset:
            continue
        if own is None or like is None or own.decoding != like.decoding:
            return False
        if own.data is not None and own.data != page.dataoffsets[0]:
            return False
    return True


def _parsed(page: Any) -> Any:
    """A page by its own tags, where tifffile takes those of the first page of its series."""
    return (
        page if page is page.keyframe or not page.offset else _page_at(page.parent, page.offset, page.index)
    )


def _page_at(file: Any, offset: int, number: int) -> Any:
    """The page whose tags begin at an offset."""
    import tifffile

    with _open_again(file.filehandle):
        file.filehandle.seek(offset)
        return tifffile.TiffPage(file, number)


@contextmanager
def _open_again(handle: Any) -> Iterator[None]:
    """Open a file of a set that tifffile has closed, for as long as the block takes."""
    closed = handle.closed
    if closed:
        handle.open()
    try:
        yield
    finally:
        if closed:
            handle.close()


def _left_out(file: Any, series: Any, pages: list[Any]) -> list[int]:
    """Offsets of the full-size pages of a file that are in no series but those of planes of the same kind."""
    taken = {page.offset for page in pages}
    for other in file.series:
        levels = other.levels if other is not series else series.levels[1:]
        if other is series or series.kind not in _JOINED or not _is_plane(other):
            taken |= {page.offset for level in levels for page in level.pages if page is not None}
    others = [(number, offset) for number, offset in enumerate(stored_pages(file)) if offset not in taken]
    found = [_page_at(file, offset, number) for number, offset in others]
    return [page.offset for page in found if not page.is_reduced and not _is_within(page, series)]


def _is_within(page: Any, series: Any) -> bool:
    """Whether a page's data lie in those of a series that is known by its first page alone, as ImageJ's are."""
    start = series.dataoffset
    if len(series.pages) > 1 or start is None or page.hash != series.keyframe.hash:
        return False
    end = start + int(np.prod(series.shape, dtype=np.int64)) * series.dtype.itemsize
    return all(start <= offset and offset + count <= end for offset, count in _segments(page))


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
            f"{path} holds {len(left_out)} pages that are no part of the stack its metadata describe; "
            "save the stack to its own file"
        )
    wanted = {page.offset for page in pages} | set(left_out)
    return [_page_at(file, at, number) for number, at in enumerate(stored_pages(file)) if at in wanted]


def _check(pages: Sequence[Any], path: Path) -> None:
    """Refuse pages that cannot be planes of one volume, or whose data are not all there.

    Raises:
        ValueError: a page has another size or number type than the first, or reaches beyond the end of the file.
    """
    first = pages[0]
    check_size(first.keyframe.chunks, first.dtype, f"{path}: a strip or tile")
    for number, page in enumerate(pages):
        if (
            page.shape != first.shape
            or page.dtype != first.dtype
            or page.keyframe.photometric != first.keyframe.photometric
        ):
            raise ValueError(
                f"{path} holds pages of different kinds: page {number} is {_described(page)}, "
                f"page 0 {_described(first)}"
            )
        empty = sum(not count or not offset for offset, count in _segments(page))
        if empty and (empty == len(page.dataoffsets) or not page.keyframe.is_tiled):
            raise ValueError(f"{path} holds no data for page {number}; was its recording stopped?")
        end = max((offset + count for offset, count in _segments(page)), default=0)
        if end > page.parent.filehandle.size:
            raise ValueError(f"{path} is cut off: the data of page {number} reach beyond the end of the file")


def _segments(page: Any) -> Iterator[tuple[int, int]]:
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _described(page: Any) -> str:
    size = " x ".join(map(str, page.shape))
    return f"{size} {page.dtype} ({getattr(page.keyframe.photometric, 'name', page.keyframe.photometric)})"
