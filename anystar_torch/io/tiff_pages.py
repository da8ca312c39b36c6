"""Pages of a TIFF file, each checked against what it is decoded as.

tifffile decodes the pages of a series as it decodes the first of them, and gives zeros for pages that are not there.
Here every page is parsed by itself. Pages that are missing or of another size or number type are an error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anystar_torch.io.reading import check_size
from anystar_torch.io.tiff_tags import StoredPage, stored_pages
from anystar_torch.system.wording import number_of


def present_pages(series: Any, path: Path) -> list[Any]:
    """The pages of a series.

    Args:
        series: of tifffile.
        path: of the file, for errors.

    Raises:
        ValueError: the file announces planes that it does not hold.
    """
    pages = list(series.pages)  # parsed anew at every access
    missing = [number for number, page in enumerate(pages) if page is None]
    if missing:
        raise ValueError(
            f"{path} announces {number_of(len(pages), 'plane')} and {len(missing)} of them are missing, the first is "
            f"plane {missing[0]}; is it one file of a set, or was its recording stopped?"
        )
    return pages


def stored_alike(pages: Sequence[Any], keyframe: Any) -> bool:
    """Whether every page is stored as the page that all are decoded like.

    Args:
        pages: of tifffile.
        keyframe: the page that tifffile takes the tags of.
    """
    stored: dict[int, dict[int, StoredPage]] = {}

    def of(page: Any) -> StoredPage | None:
        if id(page.parent) not in stored:
            with open_again(page.parent.filehandle):
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


def parsed(page: Any) -> Any:
    """A page by its own tags, where tifffile takes those of the first page of its series.

    Args:
        page: of tifffile.
    """
    return page if page is page.keyframe or not page.offset else page_at(page.parent, page.offset, page.index)


def page_at(file: Any, offset: int, number: int) -> Any:
    """The page whose tags begin at an offset.

    Args:
        file: a TIFF file that tifffile opened; it may be closed.
        offset: in bytes from the start of the file.
        number: of the page in the file, from 0.
    """
    import tifffile

    with open_again(file.filehandle):
        file.filehandle.seek(offset)
        return tifffile.TiffPage(file, number)


@contextmanager
def open_again(handle: Any) -> Iterator[None]:
    """Open a file of a set that tifffile has closed, for as long as the block takes.

    Args:
        handle: tifffile's handle of the file.
    """
    closed = handle.closed
    if closed:
        handle.open()
    try:
        yield
    finally:
        if closed:
            handle.close()


def check_pages(pages: Sequence[Any], path: Path) -> None:
    """Refuse pages that cannot be planes of one volume, or whose data are not all there.

    Args:
        pages: of tifffile, in their order.
        path: of the file, for errors.

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
        empty = sum(not count or not offset for offset, count in segments(page))
        if empty and (empty == len(page.dataoffsets) or not page.keyframe.is_tiled):
            raise ValueError(f"{path} holds no data for page {number}; was its recording stopped?")
        end = max((offset + count for offset, count in segments(page)), default=0)
        if end > page.parent.filehandle.size:
            raise ValueError(f"{path} is cut off: the data of page {number} reach beyond the end of the file")


def segments(page: Any) -> Iterator[tuple[int, int]]:
    """Offset and number of bytes of every strip or tile.

    Args:
        page: of tifffile.
    """
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _described(page: Any) -> str:
    size = " x ".join(map(str, page.shape))
    return f"{size} {page.dtype} ({getattr(page.keyframe.photometric, 'name', page.keyframe.photometric)})"
