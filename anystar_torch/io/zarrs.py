"""Zarr: a plain array, or a level of an OME-Zarr image."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from anystar_torch.io import label_store, label_target, ome_place
from anystar_torch.io.axes import LETTERS
from anystar_torch.io.label_metadata import RECORD
from anystar_torch.io.location import Location, inner, is_url, store
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.zarr_chunks import CheckedArray
from anystar_torch.system.wording import number_of

_MOST_IMAGES = 100  # at a URL, that are counted
_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class PlainArray:
    """Style of a plain array.

    Attributes:
        names: of its axes; "" for one without a name.
    """

    names: tuple[str, ...]

    def of_labels(self, dimensions: int) -> list[str]:
        """Names of the axes of labels, (t), z, y, x: those of the array where it has such an axis.

        Args:
            dimensions: 3 or 4.
        """
        own = {LETTERS.get(name.lower()): name for name in self.names}
        return [own.get(letter, letter.lower()) for letter in "TZYX"[-dimensions:]]


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, by the files in it.

    Args:
        path: of a folder; a file gives False.
    """
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


@contextmanager
def opened(path: Location, level: int = 0) -> Iterator[StoredImage]:
    """Open an array, or one level of an OME image.

    Args:
        path: the folder, or a URL.
        level: of the pyramid; 0 is the finest.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the store is broken, a group without an OME image, or it has no such level.
        ImportError: zarr is not installed.
    """
    zarr = _zarr()
    with readable(path, "Zarr"):
        try:
            found = zarr.open(store(path), mode="r")
        except FileNotFoundError as error:
            raise ValueError(_absent(path)) from error
        if not hasattr(found, "shape"):
            yield _image(found, path, level)
        elif level:
            raise ValueError(f"{path} has one resolution level, got level={level}; choose 0")
        else:
            yield _array(found, path)


def _absent(path: Location) -> str:
    """Why there is no Zarr: nothing is there, or its labels are not finished."""
    if label_target.is_unfinished(path):
        return f"{path} is not finished: run the same command again, which continues it"
    return f"there is no Zarr at {path}"


def record_text(path: Location) -> str | None:
    """The text of the run record in the attributes; None where there is none.

    Args:
        path: the folder.
    """
    record = dict(_zarr().open(store(path), mode="r").attrs).get(RECORD)
    return None if record is None else json.dumps(record)


def _array(array: Any, path: Location) -> StoredImage:
    """A plain array. Voxel size and unit are read from the attributes that :func:`write` writes."""
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    axes = tuple(str(name or "") for name in names or ()) or ("",) * array.ndim
    spacing = attributes.get("spacing")
    if not isinstance(spacing, list) or len(spacing) != 3:
        spacing = []
    check_size(array.chunks, array.dtype, str(path))
    return StoredImage(
        array=CheckedArray(array),
        dtype=np.dtype(array.dtype),
        axes=axes,
        sizes=dict(zip("zyx", spacing, strict=bool(spacing))),
        units=dict.fromkeys("zyx", attributes.get("unit")),
        style=PlainArray(axes),
        blocks=tuple(array.chunks),
    )


def _image(store: Any, path: Location, level: int) -> StoredImage:
    """One level of an OME image."""
    attributes = dict(store.attrs)
    about = attributes.get("ome", attributes)
    if "bioformats2raw.layout" in about:
        return _image(*_series(store, path), level)
    if "plate" in about:
        raise ValueError(f"{path} is a plate; give one of its images, as in {inner(path, 'A', '1', '0')}")
    multiscales = about.get("multiscales")
    if not multiscales:
        raise ValueError(f"{path} is a Zarr group without an OME image; give the path of an array in it")
    datasets = multiscales[0]["datasets"]
    if not 0 <= level < len(datasets):
        raise ValueError(
            f"{path} has {number_of(len(datasets), 'resolution level')}, got level={level}; "
            f"choose 0 to {len(datasets) - 1}"
        )
    described = [
        axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales[0].get("axes") or "tczyx"
    ]
    names = [_name(axis) for axis in described]
    transforms = [
        t for part in (datasets[level], multiscales[0]) for t in part.get("coordinateTransformations", [])
    ]
    array = store[datasets[level]["path"]]
    check_size(array.chunks, array.dtype, str(path))
    sizes = _scale(names, transforms)
    units = {n: a.get("unit") for n, a in zip(names, described, strict=True)}
    origin = ome_place.origin(names, transforms)
    return StoredImage(
        array=CheckedArray(array),
        dtype=np.dtype(array.dtype),
        axes=tuple(names),
        sizes=sizes if _sized(sizes, units) else {},
        units=units,
        affine=ome_place.affine(sizes, units, origin),
        style=ome_place.Origin(origin, sizes, units),
        levels=len(datasets),
        coarser=_coarser(store, datasets, level),
        blocks=tuple(array.chunks),
        group=str(path),
        channel_names=_channel_names(about.get("omero")),
    )


def _channel_names(omero: Any) -> tuple[str, ...]:
    """Names of the channels, from the rendering settings of OMERO; empty where there are none."""
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    return tuple(str(one.get("label") or "") if isinstance(one, dict) else "" for one in channels)


def _coarser(store: Any, datasets: list[dict[str, Any]], level: int) -> tuple[float, ...] | None:
    """Size of a voxel of a level in those of the finest one: from their scales, or from their shapes without scales."""
    if not level:
        return None
    scales = [
        [t["scale"] for t in datasets[one].get("coordinateTransformations", []) if t["type"] == "scale"]
        for one in (0, level)
    ]
    if all(scales):
        return tuple((np.asarray(scales[1][0], float) / np.asarray(scales[0][0], float)).tolist())
    fine, coarse = (store[datasets[one]["path"]].shape for one in (0, level))
    return tuple((np.asarray(fine, float) / np.asarray(coarse, float)).tolist())


def _series(store: Any, path: Location) -> tuple[Any, Location]:
    """The only image in a store of bioformats2raw, and its path.

    Raises:
        ValueError: the store holds several images.
    """
    if is_url(path):  # a web server does not list its folders; the numbers are consecutive
        names = list(takewhile(lambda name: name in store, map(str, range(_MOST_IMAGES))))
    else:
        names = sorted(name for name, _ in store.groups() if name.isdecimal())
    if len(names) != 1:
        example = f"; give one of them, as in {inner(path, names[0])}" if names else ""
        raise ValueError(f"{path} holds {len(names)} images ({', '.join(names)}){example}")
    return store[names[0]], inner(path, names[0])


def _name(axis: dict[str, Any]) -> str:
    """The name of an OME axis. The type decides for time and channel, because their names vary."""
    return {"time": "t", "channel": "c"}.get(str(axis.get("type")).lower(), str(axis["name"])).lower()


def _sized(sizes: dict[str, float], units: dict[str, str | None]) -> bool:
    """Whether scales say a voxel size. The format asks for scales; programs that know none write 1 without a unit."""
    return any(units.get(axis) or sizes.get(axis) != 1 for axis in "zyx")


def _scale(names: list[str], transforms: list[dict[str, Any]]) -> dict[str, float]:
    """Voxel size by axis: the product of the scales of the level and of the image. Empty where there are none."""
    scales = [transform["scale"] for transform in transforms if transform["type"] == "scale"]
    return dict(zip(names, np.prod(scales, axis=0, dtype=float).tolist(), strict=True)) if scales else {}


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as an OME-Zarr 0.5 label image, or as a plain array where ``like`` was read from one.

    Args:
        path: the folder; a name that ends in .ome.zarr always means an OME-Zarr image.
        labels: of one volume or of a time series.
        like: whose spacing and style the labels get.
        record: what made the labels; it is stored in the attributes.
    """
    zarr = _zarr()
    style = like.geometry
    if not isinstance(style, PlainArray) or path.name.lower().endswith(".ome.zarr"):
        label_store.write(path, labels, like, record)
        return
    made = {} if record is None else {RECORD: json.loads(record.to_json())}
    chunks = tuple(min(size, 128) for size in labels.shape)
    layout: dict[str, Any] = {"shape": labels.shape, "chunks": chunks, "dtype": labels.dtype}
    plain = zarr.open_array(str(path), mode="w", zarr_format=2, **layout)
    plain[...] = labels
    sizes = {"spacing": list(like.spacing), "unit": like.unit} if like.spacing else {}
    plain.attrs.update({"_ARRAY_DIMENSIONS": style.of_labels(labels.ndim), **sizes, **made})


def _zarr() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImportError("Zarr needs an extra package: pip install 'anystar_torch[zarr]'") from error
    return zarr
