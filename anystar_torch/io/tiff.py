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
from anystar_torch.io.scan import Scan, readable
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import ImageJCalibration

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


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the one volume of a file, or its series of volumes."""
    with _opened(path) as file:
        axes, shape = _layout(file, path)
        lazy = _Lazy(file, file.series[0], shape)
        sizes, units = _sizes(file)
        yield StoredImage(
            array=lazy,
            dtype=lazy.series.dtype,
            axes=tuple(axes),
            sizes=sizes,
            units=units,
            style="ome" if file.is_ome else "imagej",
            whole=lazy.at_once,
        )


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

    def _planes(self) -> int:
        return int(np.prod(self.shape[: self.leading], dtype=np.int64))


def _layout(file: Any, path: Path) -> tuple[str, tuple[int, ...]]:
    """Axes and sizes of the one volume, or series of volumes, that a file may hold.

    Raises:
        ValueError: it holds several, as of the positions of a stage.
    """
    series = file.series[0]
    several = sum(bool(set(one.axes) - set("TCYXS")) for one in file.series)
    if several > 1:
        raise ValueError(
            f"{path} holds {several} volumes (positions); save the one that is wanted to its own file"
        )
    axes, shape = series.axes, tuple(series.shape)
    if not set(axes) - set("TCYXS") and _is_one_slice(file, axes):
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


def _sizes(file: Any) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and their units by axis; a plain TIFF's resolution is about printing, and it has none along z."""
    if file.is_ome:
        return _ome_sizes(file.ome_metadata)
    if not file.is_imagej:
        return {}, {}
    tags = file.pages[0].tags
    x, y = (_per_unit(tags.get(name)) for name in ("XResolution", "YResolution"))
    unit = tags.get("ResolutionUnit")
    unit = 1 if unit is None else int(unit.value)
    return ImageJCalibration(file.imagej_metadata or {}, (x, y), unit).sizes_and_units()


def _per_unit(tag: Any) -> float | None:
    """Pixels per unit from a resolution tag, a fraction; None where it is absent or zero."""
    if tag is None or not tag.value[0] or not tag.value[1]:
        return None
    return float(tag.value[0] / tag.value[1])


def _ome_sizes(xml: str) -> tuple[dict[str, Any], dict[str, str | None]]:
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("Pixels")), None)
    if pixels is None:
        return {}, {}
    sizes = {axis: pixels.get(f"PhysicalSize{axis.upper()}") for axis in "zyx"}
    return sizes, {axis: pixels.get(f"PhysicalSize{axis.upper()}Unit", "\u00b5m") for axis in "zyx"}


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
