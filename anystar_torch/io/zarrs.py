"""Zarr: a plain array, or an OME-Zarr image, whose finest level, axes and scale are taken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size, checked_spacing, readable, to_zyx

_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, by what lies in it."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def read(path: Path, *, channel: int | None, frame: int | None) -> Scan:
    """Read one volume of an array, ZYX unless its metadata say otherwise."""
    zarr = _zarr()
    with readable(path, "Zarr"):
        store = zarr.open(str(path), mode="r")
        array, axes, spacing, unit = _image(store, path)
        if len(axes) != array.ndim:
            raise ValueError(f"{path} has shape {tuple(array.shape)}; an array of Z x Y x X is wanted")
        check_size(array.shape, array.dtype, str(path), axes)
        volume = to_zyx(array, axes, channel=channel, frame=frame, where=str(path))
        kind = "array" if hasattr(store, "shape") else "image"
        return Scan(np.asarray(volume[...]), spacing, unit, path, kind)


def frames(path: Path) -> int:
    """Time points; 1 where the metadata name no time axis."""
    with readable(path, "Zarr"):
        array, axes, _, _ = _image(_zarr().open(str(path), mode="r"), path)
        return int(dict(zip(axes, array.shape, strict=False)).get("T", 1))


def _image(store: Any, path: Path) -> tuple[Any, str, tuple[float, float, float] | None, str]:
    """The array, its axes, and its spacing and unit."""
    if hasattr(store, "shape"):
        spacing = store.attrs.get("spacing")
        axes = {3: "ZYX", 4: "CZYX", 5: "TCZYX", 2: "YX"}.get(store.ndim, "")
        found = checked_spacing(tuple(spacing), store.attrs.get("unit")) if spacing else (None, "")
        return store, axes, *found
    attributes = dict(store.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    if not multiscales:
        raise ValueError(f"{path} is a Zarr group without an OME image; give the path of an array in it")
    level = multiscales[0]["datasets"][0]
    described = multiscales[0].get("axes") or list("tczyx")
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in described]
    units = {axis["name"]: axis.get("unit") for axis in described if isinstance(axis, dict)}
    transforms = [t for part in (level, multiscales[0]) for t in part.get("coordinateTransformations", [])]
    size = _voxel(names, transforms)
    spacing, unit = checked_spacing(tuple(map(size.get, "zyx")), *map(units.get, "zyx"))
    return store[level["path"]], "".join(names).upper(), spacing, unit


def _voxel(names: list[str], transforms: list[dict[str, Any]]) -> dict[str, float]:
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
