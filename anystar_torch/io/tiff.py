"""TIFF: ImageJ hyperstacks, OME-TIFF and plain stacks, with axes and voxel size from their metadata."""

import html
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Integer, Shaped

from anystar_torch.io.reading import readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import ImageJCalibration

_GREY = "minisblack"  # otherwise tifffile takes three or four voxels along x for colours
_MARK = '"anystar_torch"'  # stands in every run record, and so only in the metadata of volumes


class _ErrorLog(logging.Handler):
    """Collects the errors that tifffile logs while it reads a broken file as far as it can."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.reader = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.reader:  # another thread reads another file
            self.lines.append(record.getMessage())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file. What tifffile only logs, such as a truncated file, is an error here."""
    import tifffile

    log, errors = logging.getLogger("tifffile"), _ErrorLog()
    log.addHandler(errors)
    try:
        with readable(path, "TIFF"), tifffile.TiffFile(path) as file:
            yield file
            if errors.lines:
                raise ValueError(errors.lines[0])
    finally:
        log.removeHandler(errors)


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a file with one volume, or with one series of volumes.

    Args:
        path: the file.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the file is broken, or holds several volumes.
    """
    with _opened(path) as file:
        axes, shape = _layout(file, path)
        lazy = _LazySeries(file, file.series[0], shape)
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


def record_text(path: Path) -> str | None:
    """The text of the run record in the metadata; None where there is none."""
    with _opened(path) as file:
        if file.is_ome:
            elements = ElementTree.fromstring(file.ome_metadata).iter()
            texts = [element.text for element in elements if element.tag.endswith("Description")]
        else:
            texts = [(file.imagej_metadata or {}).get("Info")]
    return next((text for text in texts if text and _MARK in text), None)


class _LazySeries:
    """A series of pages that is read when it is indexed, and then as little of it as possible."""

    def __init__(self, file: Any, series: Any, shape: tuple[int, ...]) -> None:
        self.file, self.series, self.shape = file, series, shape
        page = tuple(series.keyframe.shape)
        self.leading = len(self.shape) - len(page)
        self.paged = self.shape[self.leading :] == page and len(series.pages) == self._planes()
        self.mapped = series.dataoffset is not None

    @property
    def at_once(self) -> bool:
        """Whether any part needs the whole series to be read."""
        return not (self.paged or self.mapped)

    def __getitem__(self, index: Any) -> Shaped[np.ndarray, "..."]:
        array: Shaped[np.ndarray, "..."]
        if self.mapped:
            kind = self.series.dtype.newbyteorder(self.file.byteorder)
            array = self.file.filehandle.memmap_array(kind, self.shape, self.series.dataoffset)
            return np.array(array[index])
        if self.paged and isinstance(index, tuple) and all(isinstance(i, slice) for i in self._inner(index)):
            planes = np.arange(self._planes()).reshape(self.shape[: self.leading])[index[: self.leading]]
            array = self.file.asarray(key=planes.reshape(-1).tolist(), series=0)
            array = array.reshape(planes.shape + self.shape[self.leading :])
            return array[(slice(None),) * planes.ndim + self._inner(index)]
        array = self.series.asarray().reshape(self.shape)[index]
        return array

    def _inner(self, index: tuple[Any, ...]) -> tuple[Any, ...]:
        """The part of an index that lies within a page."""
        return index[self.leading :]

    def _planes(self) -> int:
        return int(np.prod(self.shape[: self.leading], dtype=np.int64))


def _layout(file: Any, path: Path) -> tuple[str, tuple[int, ...]]:
    """Letters and sizes of the axes of the file.

    Raises:
        ValueError: the file holds several volumes, such as the positions of a stage.
    """
    series = file.series[0]
    several = sum(bool(set(one.axes) - set("TCYXS")) for one in file.series)
    if several > 1:
        raise ValueError(f"{path} holds {several} volumes (positions); save one of them to its own file")
    axes, shape = series.axes, tuple(series.shape)
    if not set(axes) - set("TCYXS") and _is_one_slice(file, axes):
        at = axes.index("Y")
        return f"{axes[:at]}Z{axes[at:]}", (*shape[:at], 1, *shape[at:])
    return axes, shape


def _is_one_slice(file: Any, axes: str) -> bool:
    """Whether a file without a z axis is a volume of one slice. Both styles leave the axis out then."""
    if file.is_imagej:
        metadata = file.imagej_metadata or {}
        # ImageJ writes a spacing for stacks only, so one beside a single image means a stack.
        return (axes == "YX" and "spacing" in metadata) or _MARK in str(metadata.get("Info"))
    return bool(file.is_ome) and _MARK in html.unescape(file.ome_metadata)


def _sizes(file: Any) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and their units by axis. A plain TIFF has none: its resolution is meant for printing."""
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
    """Voxel sizes and their units by axis, from OME's XML."""
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("Pixels")), None)
    if pixels is None:
        return {}, {}
    sizes = {axis: pixels.get(f"PhysicalSize{axis.upper()}") for axis in "zyx"}
    return sizes, {axis: pixels.get(f"PhysicalSize{axis.upper()}Unit", "\u00b5m") for axis in "zyx"}


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as ImageJ hyperstack, or as OME-TIFF.

    OME-TIFF is written for names that end in .ome.tif, where ``like`` was read from one, and for 32-bit labels,
    because ImageJ has no 32-bit integers.

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: whose spacing and style the labels get.
        record: what made the labels.
    """
    import tifffile

    axes = "TZYX" if labels.ndim == 4 else "ZYX"
    spacing = like.spacing or (1.0, 1.0, 1.0)
    text = "" if record is None else record.to_json()
    named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    if like.geometry == "ome" or named_ome or labels.dtype != np.uint16:
        metadata: dict[str, Any] = {"axes": axes, "Description": text}
        if like.spacing is not None:
            for axis, size in zip("ZYX", spacing, strict=True):
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = "µm" if like.unit else "pixel"
        tifffile.imwrite(path, labels, ome=True, metadata=metadata, compression="zlib", photometric=_GREY)
        return
    tifffile.imwrite(
        path,
        labels,
        imagej=True,
        photometric=_GREY,
        metadata={"axes": axes, "Info": text, "spacing": spacing[0], "unit": like.unit or "pixel"},
        resolution=(1 / spacing[2], 1 / spacing[1]),
        resolutionunit="NONE",
    )
