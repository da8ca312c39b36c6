"""The Zarr arrays of a label image: written without their metadata, which are made separately and written last."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from anystar_torch.io.label_layout import Level
from anystar_torch.io.label_metadata import RECORD, Version, axis_names
from anystar_torch.io.location import Location, store
from anystar_torch.io.run_record import RunRecord


def unlisted_array(place: Location, number: int, level: Level, dtype: str, version: Version) -> Any:
    """An array to write to and read from. Nothing but shards is stored, so that no reader takes it for an array.

    Args:
        place: folder or URL of the label image.
        number: of the level.
        level: its shape, shards and chunks.
        dtype: number type of the labels.
        version: of OME-Zarr.
    """
    import zarr
    from zarr.storage import MemoryStore, StorePath

    model = zarr.create_array(MemoryStore(), **_options(level, dtype, version))
    path = StorePath(store(place, read_only=False), str(number))
    return zarr.Array(zarr.AsyncArray(model.metadata, path))


def metadata_files(
    attributes: dict[str, Any],
    record: RunRecord | None,
    levels: Sequence[Level],
    dtype: str,
    version: Version,
) -> dict[str, bytes]:
    """The metadata files of a label image by name, those of its group last: without them nothing is found.

    Args:
        attributes: of the group.
        record: what made the labels.
        levels: of the pyramid.
        dtype: number type of the labels.
        version: of OME-Zarr.
    """
    import zarr
    from zarr.storage import MemoryStore

    made = {} if record is None else {RECORD: json.loads(record.to_json())}
    content: dict[str, Any] = {}
    model = MemoryStore(content)
    zarr.create_group(model, attributes={**attributes, **made}, zarr_format=_zarr_format(version))
    for number, level in enumerate(levels):
        zarr.create_array(model, name=str(number), **_options(level, dtype, version))
    last = sorted(content, key=lambda name: ("/" not in name, name))
    return {name: content[name].to_bytes() for name in last}


def _options(level: Level, dtype: str, version: Version) -> dict[str, Any]:
    """Arguments of Zarr that create the array of a level."""
    options: dict[str, Any] = {
        "shape": level.shape,
        "chunks": level.chunk,
        "dtype": dtype,
        "fill_value": 0,
        "zarr_format": _zarr_format(version),
    }
    if version == "0.4":
        return options | {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    return options | {"shards": level.shard, "dimension_names": axis_names(len(level.shape))}


def _zarr_format(version: Version) -> Literal[2, 3]:
    return 2 if version == "0.4" else 3
