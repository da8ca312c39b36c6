"""Reader of volumes with their voxel size, by the rules of :mod:`anystar_torch.io`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anystar_torch import io
from anystar_torch.io.reading import check_size
from anystar_torch.napari.file_array import FileArray
from anystar_torch.napari.layer_volume import FILE_CHANNEL
from anystar_torch.napari.samples import LayerData
from anystar_torch.system.memory import available_memory

_SHARE = 0.25  # of the free memory, which the voxels of a file may take
_STORES = (".zarr", ".ome.zarr", ".n5", ".h5", ".hdf5")  # their parts are read without the rest
_COLOURS = ("magenta", "green", "cyan", "yellow", "red", "blue")


def reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """The function that opens a volume; None for what is no volume of a known format.

    Args:
        path: a file or folder, or several.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    known = all(io.kind_of(one) is not None or (one.is_dir() and io.is_volume(one)) for one in paths)
    return _layers if known and paths else None


def _layers(path: str | list[str]) -> list[LayerData]:
    """An image layer per channel of every file, with all time points."""
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return [layer for one in paths for layer in _channels(one)]


def _channels(path: Path) -> list[LayerData]:
    """An image layer per channel of a file. Stores and large files are read where they are shown."""
    first = _first(path)
    bytes_ = first.nbytes * first.frames * first.channels
    large = bytes_ > _SHARE * available_memory()
    lazy = (large or _is_store(path, first)) and not first.whole
    if not lazy:
        check_size((first.channels, first.frames, *first.shape), first.dtype, str(path))
    coarser = range(1, first.levels if large and lazy else 1)
    levels = [first, *(first.at(level=level) for level in coarser)]
    layers = [
        (_data(levels, channel, lazy), _attributes(first, channel), "image")
        for channel in range(first.channels)
    ]
    if not lazy:
        first.close()
    return layers


def _first(path: Path) -> io.LazyVolume:
    """The first channel and time point of a file. The first of four axes without names is taken for time."""
    try:
        return io.open_volume(path, channel=0, frame=0)
    except ValueError as error:
        try:
            return io.open_volume(path, frame=0)
        except ValueError:
            raise error from None


def _is_store(path: Path, volume: io.LazyVolume) -> bool:
    """Whether a file holds blocks that are read one by one."""
    return volume.blocks is not None or io.kind_of(path) in _STORES


def _data(levels: list[io.LazyVolume], channel: int, lazy: bool) -> Any:
    """The voxels of a channel: an array, or one per level of a pyramid."""
    found: list[Any] = []
    for level in levels:
        array = FileArray(level, channel)
        read = array.lazy() if lazy else array[(slice(None),) * array.ndim]
        found.append(read if level.frames > 1 else read[0])
    return found[0] if len(found) == 1 else found


def _attributes(volume: io.LazyVolume, channel: int) -> dict[str, Any]:
    """Name, axes and voxel size of the layer of a channel."""
    path = Path(volume.choice.path)
    spacing = volume.spacing or (1.0, 1.0, 1.0)
    unit = "micrometer" if volume.unit else "pixel"
    time = volume.frames > 1
    attributes: dict[str, Any] = {
        "name": path.name,
        "scale": (1.0, *spacing)[not time :],
        "units": ("pixel", unit, unit, unit)[not time :],
    }
    if volume.choice.channel is not None or not time:
        attributes["axis_labels"] = ("t", "z", "y", "x")[not time :]
    if volume.channels > 1:
        attributes |= {
            "name": f"{path.name} {volume.channel_names[channel] or f'channel {channel}'}",
            "metadata": {FILE_CHANNEL: channel},
            "colormap": _COLOURS[channel % len(_COLOURS)],
            "blending": "additive" if channel else "translucent_no_depth",
        }
    return attributes
