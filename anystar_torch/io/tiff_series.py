"""The series of pages in a TIFF file, also where tifffile finds none because planes differ in strips or tiles.

tifffile takes the number of strips or tiles of every plane from the first one, and stops where another plane has more
or fewer. The metadata then tell the order of the planes here: those of OME-TIFF, and those of ImageJ.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from anystar_torch.io.tiff_pages import page_at
from anystar_torch.io.tiff_tags import stored_pages
from anystar_torch.system.wording import number_of

_MOST_PLANES = 1 << 24


def all_series(file: Any, path: Path, xml: str) -> Sequence[Any]:
    """The series of a file.

    Args:
        file: that tifffile opened.
        xml: the description of the set that an OME-TIFF belongs to; "" for other files.
        path: its name; the other files of an OME-TIFF set lie in the same folder.

    Raises:
        ValueError: planes differ in strips or tiles, and the metadata do not tell their order.
    """
    if xml and xml != file.ome_metadata:  # tifffile does not follow a file to the description of its set
        return _ome(file, path, xml)
    try:
        return list(file.series)
    except RuntimeError as error:
        if "incompatible keyframe" not in str(error):
            raise
    if xml:
        return _ome(file, path, xml)
    if file.is_imagej:
        return [_imagej(file)]
    raise ValueError(
        "its planes are stored in different strips or tiles; save it anew with planes stored alike"
    )


def _imagej(file: Any) -> Any:
    """The hyperstack of an ImageJ file: channels count first, then slices, then frames."""
    about = file.imagej_metadata or {}
    if str(about.get("order", "czt")).lower() not in ("czt", "default"):
        raise ValueError(
            f"the order {about['order']} of its planes, which differ in strips, is not supported"
        )
    leading = tuple(int(about.get(name) or 1) for name in ("frames", "slices", "channels"))
    pages = [page_at(file, offset, number) for number, offset in enumerate(stored_pages(file))]
    if math.prod(leading) != len(pages):
        raise ValueError(
            f"its metadata describe {number_of(math.prod(leading), 'plane')}, and it holds {len(pages)}"
        )
    return _series(pages, leading, "TZC", "imagej")


def _ome(file: Any, path: Path, xml: str) -> list[Any]:
    """The series of an OME-TIFF, by the elements TiffData of its description."""
    if "Modulo" in xml:
        raise ValueError(
            "its description has axes within axes (Modulo), which is not supported for such files"
        )
    root = ElementTree.fromstring(xml)
    files = _Files(file, path, described=xml == file.ome_metadata)
    found = []
    for image in (element for element in root if element.tag.endswith("Image")):
        for pixels in (element for element in image if element.tag.endswith("Pixels")):
            leading = "".join(axis for axis in reversed(pixels.attrib["DimensionOrder"]) if axis not in "YX")
            channels = [element for element in pixels if element.tag.endswith("Channel")]
            samples = max([int(channel.get("SamplesPerPixel") or 1) for channel in channels] or [1])
            sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in leading}
            shape = tuple(size // (samples if axis == "C" else 1) for axis, size in sizes.items())
            found.append(
                _series(_ome_pages(pixels, leading, shape, files), shape, leading, "ome", image.get("Name"))
            )
    return found


def _ome_pages(pixels: Any, leading: str, shape: tuple[int, ...], files: "_Files") -> list[Any]:
    """The pages of an image in the order of its dimensions; None for one that the description leaves out."""
    if math.prod(shape) > _MOST_PLANES:
        raise ValueError(f"its description announces {math.prod(shape)} planes")
    pages: list[Any] = [None] * math.prod(shape)
    for data in (element for element in pixels if element.tag.endswith("TiffData")):
        file, offsets = files.of(next((part for part in data if part.tag.endswith("UUID")), None))
        begin = int(np.ravel_multi_index([int(data.get(f"First{axis}", 0)) for axis in leading], shape))
        first = int(data.get("IFD", 0))
        count = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else len(offsets)))
        if begin + count > len(pages) or first + count > len(offsets):
            raise ValueError("its description does not fit the pages that it holds")
        for number in range(count):
            pages[begin + number] = page_at(file, offsets[first + number], first + number)
    return pages


class _Files:
    """The files of an OME-TIFF set, with the offsets of their pages."""

    def __init__(self, file: Any, path: Path, described: bool) -> None:
        own = (file, list(stored_pages(file)))
        uuid = ElementTree.fromstring(file.ome_metadata).get("UUID")
        self._path, self._found = path, {uuid or path.name: own, path.name: own}
        if described:
            self._found[""] = own

    def of(self, uuid: Any) -> tuple[Any, list[int]]:
        """The file that an element UUID names; the file that holds the description for None.

        Raises:
            ValueError: a description outside of the file does not name the file of a plane.
        """
        import tifffile

        name = "" if uuid is None else uuid.get("FileName") or ""
        key = name if uuid is None or name == self._path.name else uuid.text
        if key not in self._found:
            if not name:
                raise ValueError("the description of its set does not name the files of the planes")
            with tifffile.TiffFile(self._path.parent / name) as file:
                self._found[key] = (file, list(stored_pages(file)))
        return self._found[key]


def _series(
    pages: list[Any], shape: tuple[int, ...], leading: str, kind: str, name: str | None = None
) -> Any:
    """A series of tifffile of pages that are read one by one."""
    import tifffile

    first = next((page for page in pages if page is not None), None)
    if first is None:
        raise ValueError("its description names no plane of the file")
    return tifffile.TiffPageSeries(
        pages, (*shape, *first.shape), first.dtype, leading + first.axes, kind=kind, name=name
    )
