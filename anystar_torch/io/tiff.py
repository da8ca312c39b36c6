"""TIFF: ImageJ hyperstacks, OME-TIFF and plain stacks, with the axes and sizes their metadata give."""

import html
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size, checked_spacing, readable, to_zyx

_MARK = '"anystar_torch"'  # in the metadata of what this package predicted, which is always a volume


class _Complaints(logging.Handler):
    """Collects the errors that tifffile logs while it goes on with part of a broken file."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.reader = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.reader:  # another thread's file is its own affair
            self.lines.append(record.getMessage())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file; what tifffile only logs (a truncated file, read as far as it goes) is an error here."""
    import tifffile

    log, complaints = logging.getLogger("tifffile"), _Complaints()
    log.addHandler(complaints)
    try:
        with readable(path, "TIFF"), tifffile.TiffFile(path) as file:
            yield file
            if complaints.lines:
                raise ValueError(complaints.lines[0])
    finally:
        log.removeHandler(complaints)


def read(path: Path, *, channel: int | None, frame: int | None) -> Scan:
    """Read one volume; axes that no metadata name are Z, Y, X."""
    with _opened(path) as file:
        axes, shape = _layout(file, path)
        lazy = _Lazy(file, file.series[0], shape)
        check_size(shape, lazy.series.dtype, str(path), "" if lazy.at_once else axes)
        volume = to_zyx(lazy, axes, channel=channel, frame=frame, where=str(path))
        array = np.asarray(volume[...] if isinstance(volume, _Lazy) else volume)
        spacing, unit = _spacing(file)
        style = "ome" if file.is_ome else "imagej"
    return Scan(array, spacing, unit, path, style)


def frames(path: Path) -> int:
    """Time points of the file; 1 where it has no time axis."""
    with _opened(path) as file:
        return int(dict(zip(*_layout(file, path), strict=True)).get("T", 1))


class _Lazy:
    """A series that is read when it is indexed, after its axes were found acceptable; as little of it as can be."""

    def __init__(self, file: Any, series: Any, shape: tuple[int, ...]) -> None:
        self.file, self.series, self.shape = file, series, shape
        page = tuple(series.keyframe.shape)
        self.leading = len(self.shape) - len(page)
        self.paged = self.shape[self.leading :] == page and len(series.pages) == self._planes()
        self.mapped = series.dataoffset is not None

    @property
    def at_once(self) -> bool:
        """Whether a part cannot be had without the rest."""
        return not (self.paged or self.mapped)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        array: NDArray[Any]
        if self.mapped:
            kind = self.series.dtype.newbyteorder(self.file.byteorder)
            array = self.file.filehandle.memmap_array(kind, self.shape, self.series.dataoffset)
            return np.array(array[index])
        if (
            self.paged
            and isinstance(index, tuple)
            and all(isinstance(i, slice) for i in index[self.leading :])
        ):
            planes = np.arange(self._planes()).reshape(self.shape[: self.leading])[index[: self.leading]]
            array = self.file.asarray(key=planes.reshape(-1).tolist(), series=0)
            array = array.reshape(planes.shape + self.shape[self.leading :])
            return array[(slice(None),) * planes.ndim + index[self.leading :]]
        array = self.series.asarray().reshape(self.shape)[index]
        return array

    def transpose(self, order: list[int]) -> NDArray[Any]:
        return self[...].transpose(order)

    def _planes(self) -> int:
        return int(np.prod(self.shape[: self.leading], dtype=np.int64))


def _axes(axes: str) -> str:
    """Letters of tifffile as ours: the one axis it cannot name (Q, I) is Z where no other is."""
    unnamed = [letter for letter in axes if letter not in "TZCYXS"]
    if len(unnamed) == 1 and "Z" not in axes:
        return axes.replace(unnamed[0], "Z")
    return axes


def _layout(file: Any, path: Path) -> tuple[str, tuple[int, ...]]:
    """Axes and sizes of the one volume, or series of volumes, that a file may hold.

    Raises:
        ValueError: it holds several, as of the positions of a stage.
    """
    series = file.series[0]
    several = sum("Z" in _axes(one.axes) for one in file.series)
    if several > 1:
        raise ValueError(
            f"{path} holds {several} volumes (positions); save the one that is wanted to its own file"
        )
    axes, shape = _axes(series.axes), tuple(series.shape)
    if "Z" not in axes and _is_one_slice(file, axes):
        at = axes.index("Y")
        return f"{axes[:at]}Z{axes[at:]}", (*shape[:at], 1, *shape[at:])
    return axes, shape


def _is_one_slice(file: Any, axes: str) -> bool:
    """Whether a file without a z axis, which both styles leave out where there is one slice, says it is a volume."""
    if file.is_imagej:
        metadata = file.imagej_metadata or {}
        # ImageJ writes a spacing for stacks only; here it is there though there is one image.
        return (axes == "YX" and "spacing" in metadata) or _MARK in str(metadata.get("Info"))
    return bool(file.is_ome) and _MARK in html.unescape(file.ome_metadata)


def _spacing(file: Any) -> tuple[tuple[float, float, float] | None, str]:
    if file.is_ome:
        return _ome_spacing(file.ome_metadata)
    if file.is_imagej:
        metadata = file.imagej_metadata or {}
        y, x = (_step(file.pages[0].tags.get(tag)) for tag in ("YResolution", "XResolution"))
        # ImageJ leaves out a spacing of exactly 1: with a unit and slices, none means that.
        calibrated = "unit" in metadata and metadata.get("slices", 1) > 1
        z = metadata.get("spacing", 1.0 if calibrated else None)
        return checked_spacing((z, y, x), metadata.get("unit"))
    return None, ""  # a plain TIFF's resolution is about printing, and it has none along z


def _step(tag: Any) -> float | None:
    """Voxel size from a resolution tag, which holds voxels per unit as a fraction."""
    if tag is None or not tag.value[0]:
        return None
    return float(tag.value[1] / tag.value[0])


def _ome_spacing(xml: str) -> tuple[tuple[float, float, float] | None, str]:
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("Pixels")), None)
    if pixels is None:
        return None, ""
    sizes = tuple(pixels.get(f"PhysicalSize{axis}") for axis in "ZYX")
    return checked_spacing(sizes, *(pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"))


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write labels ``[D, H, W]`` or ``[T, D, H, W]`` as ImageJ hyperstack, or OME-TIFF if the scan was one.

    ImageJ has no 32-bit integers; labels above 65535 go into an OME-TIFF, which both read.
    """
    import tifffile

    axes = "TZYX" if labels.ndim == 4 else "ZYX"
    spacing = like.spacing or (1.0, 1.0, 1.0)
    text = "" if record is None else record.to_json()
    if (
        like.geometry == "ome"
        or path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        or labels.dtype != np.uint16
    ):
        metadata: dict[str, Any] = {"axes": axes, "Description": text}
        if like.spacing is not None:
            for axis, size in zip("ZYX", spacing, strict=True):
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = "µm" if like.unit else "pixel"
        tifffile.imwrite(path, labels, ome=True, metadata=metadata, compression="zlib")
        return
    tifffile.imwrite(
        path,
        labels,
        imagej=True,
        metadata={"axes": axes, "Info": text, "spacing": spacing[0], "unit": like.unit or "pixel"},
        resolution=(1 / spacing[2], 1 / spacing[1]),
        resolutionunit="NONE",
    )
