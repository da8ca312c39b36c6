"""Reader of volumes with their voxel size, by the rules of :mod:`anystar_torch.io`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anystar_torch import io
from anystar_torch.napari.samples import LayerData


def reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """The function that opens a volume; None for what is no volume of a known format.

    Args:
        path: a file or folder, or several.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    known = all(io.kind_of(one) is not None or (one.is_dir() and io.is_volume(one)) for one in paths)
    return _layers if known and paths else None


def _layers(path: str | list[str]) -> list[LayerData]:
    """An image layer per file, with all time points."""
    return [_layer(Path(one)) for one in ([path] if isinstance(path, str) else path)]


def _layer(path: Path) -> LayerData:
    count = io.frames(path)
    images = [io.read(path, frame=frame if count > 1 else None) for frame in range(count)]
    array = images[0].array if count == 1 else np.stack([image.array for image in images])
    spacing = images[0].spacing or (1.0, 1.0, 1.0)
    unit = "micrometer" if images[0].unit else "pixel"
    time = count > 1
    attributes = {
        "name": path.name,
        "axis_labels": ("t", "z", "y", "x")[not time :],
        "scale": (1.0, *spacing)[not time :],
        "units": ("pixel", unit, unit, unit)[not time :],
    }
    return array, attributes, "image"
