"""Reader of volumes with their voxel size, by the rules of :mod:`anystar_torch.io`."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anystar_torch import io
from anystar_torch.io.reading import check_size
from anystar_torch.napari.file_array import FileArray
from anystar_torch.napari.layer_volume import FILE_CHANNEL, FILE_SCENE
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
    """An image layer per scene and channel of every file, with all time points."""
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return [layer for one in paths for layer in _of_file(one)]


def _of_file(path: Path) -> list[LayerData]:
    """An image layer per scene and channel of a file. Stores and large files are read where they are shown.

    Of several scenes, which may lie at the same place, the first one is visible.
    """
    volumes = _scenes(path)
    bytes_ = sum(first.nbytes * first.frames * first.channels for first in volumes)
    large = bytes_ > _SHARE * available_memory()
    layers = []
    for number, first in enumerate(volumes):
        for data, attributes, kind in _channels(path, first, large):
            layers.append((data, {**attributes, **({"visible": False} if number else {})}, kind))
    return layers


def _scenes(path: Path) -> list[io.LazyVolume]:
    """The first channel and time point of every scene of a file. Scenes that are no volumes are left out.

    Raises:
        ValueError: no scene is a volume.
    """
    names = io.scenes(path)
    if not names:
        return [_first(path, None)]
    found, left = [], {}
    for name in names:
        try:
            found.append(_first(path, name))
        except ValueError as error:  # such as an overview image
            left[name] = error
    if not found:
        raise next(iter(left.values()))
    if left:
        name, reason = next(iter(left.items()))
        warnings.warn(
            f"{len(left)} of {len(names)} scenes are left out; the first is {name}: {reason}", stacklevel=2
        )
    return found


def _channels(path: Path, first: io.LazyVolume, large: bool) -> list[LayerData]:
    """An image layer per channel of a scene."""
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


def _first(path: Path, scene: str | None) -> io.LazyVolume:
    """The first channel and time point of a scene. The first of four axes without names is taken for time."""
    try:
        return io.open_volume(path, channel=0, frame=0, scene=scene)
    except ValueError as error:
        try:
            return io.open_volume(path, frame=0, scene=scene)
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
    scene = volume.choice.scene
    words = [path.name, *(() if scene is None else (f"scene {scene}" if scene.isdecimal() else scene,))]
    attributes: dict[str, Any] = {
        "scale": (1.0, *spacing)[not time :],
        "units": ("pixel", unit, unit, unit)[not time :],
        "metadata": {} if scene is None else {FILE_SCENE: scene},
    }
    if volume.choice.channel is not None or not time:
        attributes["axis_labels"] = ("t", "z", "y", "x")[not time :]
    if volume.channels > 1:
        words.append(volume.channel_names[channel] or f"channel {channel}")
        attributes["metadata"][FILE_CHANNEL] = channel
        attributes |= {
            "colormap": _COLOURS[channel % len(_COLOURS)],
            "blending": "additive" if channel else "translucent_no_depth",
        }
    return {"name": " ".join(words), **attributes}
