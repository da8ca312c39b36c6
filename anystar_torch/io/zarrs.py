"""Zarr: a plain array, or the finest level of an OME-Zarr image."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from anystar_torch.io import ome_place
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.zarr_chunks import CheckedArray

_KEY = "anystar"  # of the run record in the attributes
_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, by the files in it.

    Args:
        path: of a folder; a file gives False.
    """
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open an array, or the finest level of an OME image.

    Args:
        path: the folder.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the store is broken, or a group without an OME image.
        ImportError: zarr is not installed.
    """
    zarr = _zarr()
    with readable(path, "Zarr"):
        store = zarr.open(str(path), mode="r")
        yield _array(store, path) if hasattr(store, "shape") else _image(store, path)


def record_text(path: Path) -> str | None:
    """The text of the run record in the attributes; None where there is none.

    Args:
        path: the folder.
    """
    record = dict(_zarr().open(str(path), mode="r").attrs).get(_KEY)
    return None if record is None else json.dumps(record)


def _array(array: Any, path: Path) -> StoredImage:
    """A plain array. Voxel size and unit are read from the attributes that :func:`write` writes."""
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    axes = tuple(str(name or "") for name in names or ()) or ("",) * array.ndim
    spacing = attributes.get("spacing") or ()
    check_size(array.chunks, array.dtype, str(path))
    return StoredImage(
        array=CheckedArray(array),
        dtype=np.dtype(array.dtype),
        axes=axes,
        sizes=dict(zip("zyx", spacing, strict=len(spacing) > 0)),
        units=dict.fromkeys("zyx", attributes.get("unit")),
        style="array",
    )


def _image(store: Any, path: Path) -> StoredImage:
    """The finest level of an OME image."""
    attributes = dict(store.attrs)
    about = attributes.get("ome", attributes)
    if "bioformats2raw.layout" in about:
        return _image(*_series(store, path))
    multiscales = about.get("multiscales")
    if not multiscales:
        raise ValueError(f"{path} is a Zarr group without an OME image; give the path of an array in it")
    level = multiscales[0]["datasets"][0]
    described = [
        axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales[0].get("axes") or "tczyx"
    ]
    names = [_name(axis) for axis in described]
    transforms = [t for part in (level, multiscales[0]) for t in part.get("coordinateTransformations", [])]
    array = store[level["path"]]
    check_size(array.chunks, array.dtype, str(path))
    sizes, units = (
        _scale(names, transforms),
        {n: a.get("unit") for n, a in zip(names, described, strict=True)},
    )
    origin = ome_place.origin(names, transforms)
    return StoredImage(
        array=CheckedArray(array),
        dtype=np.dtype(array.dtype),
        axes=tuple(names),
        sizes=sizes,
        units=units,
        affine=ome_place.affine(sizes, units, origin),
        style=ome_place.Origin(origin),
    )


def _series(store: Any, path: Path) -> tuple[Any, Path]:
    """The only image in a store of bioformats2raw, and its path.

    Raises:
        ValueError: the store holds several images.
    """
    names = sorted(name for name, _ in store.groups() if name.isdecimal())
    if len(names) != 1:
        example = f"; give one of them, as in {path / names[0]}" if names else ""
        raise ValueError(f"{path} holds {len(names)} images ({', '.join(names)}){example}")
    return store[names[0]], path / names[0]


def _name(axis: dict[str, Any]) -> str:
    """The name of an OME axis. The type decides for time and channel, because their names vary."""
    return {"time": "t", "channel": "c"}.get(str(axis.get("type")).lower(), str(axis["name"])).lower()


def _scale(names: list[str], transforms: list[dict[str, Any]]) -> dict[str, float]:
    """Voxel size by axis: the product of the scales of the level and of the image. Empty where there are none."""
    scales = [transform["scale"] for transform in transforms if transform["type"] == "scale"]
    return dict(zip(names, np.prod(scales, axis=0, dtype=float).tolist(), strict=True)) if scales else {}


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as an OME-Zarr image of one level, or as a plain array where ``like`` was read from one.

    Args:
        path: the folder.
        labels: of one volume or of a time series.
        like: whose spacing and style the labels get.
        record: what made the labels; it is stored in the attributes.
    """
    zarr = _zarr()
    made = {} if record is None else {_KEY: json.loads(record.to_json())}
    chunks = tuple(min(size, 128) for size in labels.shape)
    layout: dict[str, Any] = {"shape": labels.shape, "chunks": chunks, "dtype": labels.dtype}
    if like.geometry == "array":
        plain = zarr.open_array(str(path), mode="w", zarr_format=2, **layout)
        plain[...] = labels
        sizes = {"spacing": list(like.spacing), "unit": like.unit} if like.spacing else {}
        plain.attrs.update({**sizes, **made})
        return
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", **layout)
    array[...] = labels
    group.attrs.update({"multiscales": [_multiscale(labels.ndim, like)], **made})


def _multiscale(dimensions: int, like: SpatialImage) -> dict[str, Any]:
    """OME's description of an image of one level, with the axes (t), z, y, x."""
    letters = "tzyx"[-dimensions:]
    length = {"unit": "micrometer"} if like.unit else {}
    axes = [
        {"name": "t", "type": "time"} if letter == "t" else {"name": letter, "type": "space", **length}
        for letter in letters
    ]
    scale = [1.0] * (dimensions - 3) + list(like.spacing or (1.0, 1.0, 1.0))
    translation = ome_place.translation(like, dimensions)
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if translation is not None:
        transforms.append({"type": "translation", "translation": translation})
    level = {"path": "0", "coordinateTransformations": transforms}
    return {"version": "0.4", "axes": axes, "datasets": [level]}


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
