"""Zarr: a plain array, or an OME-Zarr image, whose finest level, axes and scale are taken."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, readable
from anystar_torch.io.stored import StoredImage

_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, by what lies in it."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield an array, or the finest level of an OME image."""
    zarr = _zarr()
    with readable(path, "Zarr"):
        store = zarr.open(str(path), mode="r")
        yield _array(store) if hasattr(store, "shape") else _image(store, path)


def _array(array: Any) -> StoredImage:
    """A plain array with the names of its axes and, as this package writes them, its voxel size and unit."""
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    axes = tuple(str(name or "") for name in names or ()) or ("",) * array.ndim
    spacing = attributes.get("spacing") or ()
    return StoredImage(
        array=array,
        dtype=np.dtype(array.dtype),
        axes=axes,
        sizes=dict(zip("zyx", spacing, strict=len(spacing) > 0)),
        units=dict.fromkeys("zyx", attributes.get("unit")),
        style="array",
    )


def _image(store: Any, path: Path) -> StoredImage:
    """The finest level of an OME image, with axes, scale and units."""
    attributes = dict(store.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    if not multiscales:
        raise ValueError(f"{path} is a Zarr group without an OME image; give the path of an array in it")
    level = multiscales[0]["datasets"][0]
    described = [
        axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales[0].get("axes") or "tczyx"
    ]
    names = [_name(axis) for axis in described]
    transforms = [t for part in (level, multiscales[0]) for t in part.get("coordinateTransformations", [])]
    array = store[level["path"]]
    return StoredImage(
        array=array,
        dtype=np.dtype(array.dtype),
        axes=tuple(names),
        sizes=_scale(names, transforms),
        units={name: axis.get("unit") for name, axis in zip(names, described, strict=True)},
        style="image",
    )


def _name(axis: dict[str, Any]) -> str:
    """The name of an OME axis; its type tells time and channel, whatever they are called."""
    return {"time": "t", "channel": "c"}.get(str(axis.get("type")).lower(), str(axis["name"])).lower()


def _scale(names: list[str], transforms: list[dict[str, Any]]) -> dict[str, float]:
    """Voxel size by axis: the product of all scales, the level's and the image's; empty where there is none."""
    scales = [transform["scale"] for transform in transforms if transform["type"] == "scale"]
    return dict(zip(names, np.prod(scales, axis=0, dtype=float).tolist(), strict=True)) if scales else {}


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write labels as a plain array if the scan was one, else as an OME-Zarr image of one level.

    What made them stands in the attributes.
    """
    zarr = _zarr()
    made = {} if record is None else {"anystar": json.loads(record.to_json())}
    chunks = tuple(min(size, 128) for size in labels.shape)
    layout: dict[str, Any] = {"shape": labels.shape, "chunks": chunks, "dtype": labels.dtype}
    if like.geometry == "array":
        plain = zarr.open_array(str(path), mode="w", zarr_format=2, **layout)
        plain[...] = labels
        sizes = {"spacing": list(like.spacing), "unit": like.unit} if like.spacing else {}
        plain.attrs.update({**sizes, **made})
        return
    letters = "tzyx"[-labels.ndim :]
    kinds = {"t": "time"}
    length = {"unit": "micrometer"} if like.unit else {}
    axes = [{"name": a, "type": kinds.get(a, "space"), **(length if a in "zyx" else {})} for a in letters]
    scale = [1.0] * (labels.ndim - 3) + list(like.spacing or (1.0, 1.0, 1.0))
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", **layout)
    array[...] = labels
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
        }
    ]
    group.attrs.update(made)


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError("Zarr needs an extra package: pip install 'anystar_torch[zarr]'") from error
    return zarr
