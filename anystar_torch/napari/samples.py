"""Sample data: synthetic volumes, and the real volume of the ``stardist`` package."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anystar_torch import io
from anystar_torch.configuration.compose import load_synthesizer

LayerData = tuple[Any, dict[str, Any], str]
"""Data, attributes and type of a layer, as napari takes them."""

_SIDE = 64  # voxels of a synthetic volume
_ROWS, _COLUMNS = 2, 3


def synthetic(generator: str = "zero_shot") -> list[LayerData]:
    """Six synthetic volumes side by side, with their labels.

    Args:
        generator: name of a generator of ``configs/synth``.
    """
    synth = load_synthesizer(generator, shape=(_SIDE,) * 3, seed=0)
    sample = synth(torch.arange(_ROWS * _COLUMNS))
    labels = sample.labels[:, 0].numpy()
    first = np.cumsum([0, *(int(part.max()) for part in labels[:-1])])  # ids are unique in the whole picture
    labels = np.stack([np.where(part > 0, part + more, 0) for part, more in zip(labels, first, strict=True)])
    return [
        (_gallery(sample.image[:, 0].numpy()), {"name": "synthetic", **_AXES}, "image"),
        (
            _gallery(labels.astype(np.int32)),
            {"name": "synthetic labels", "visible": False, **_AXES},
            "labels",
        ),
    ]


def nuclei() -> list[LayerData]:
    """The nuclei of the ``stardist`` package, with their labels.

    Raises:
        ValueError: the package is not installed.
    """
    spec = importlib.util.find_spec("stardist")
    if spec is None or spec.origin is None:
        raise ValueError(
            "these nuclei come with the stardist package, which is not installed: pip install stardist"
        )
    folder = Path(spec.origin).parent / "data" / "images"
    image, labels = io.read(folder / "img3d.tif").array, io.read_labels(folder / "mask3d.tif").array
    return [
        (image, {"name": "nuclei", **_AXES}, "image"),
        (labels, {"name": "nuclei labels", "visible": False, **_AXES}, "labels"),
    ]


_AXES = {"axis_labels": ("z", "y", "x")}


def _gallery(volumes: np.ndarray) -> np.ndarray:
    """Volumes of one shape in rows and columns: ``[n, D, H, W]`` to ``[D, rows H, columns W]``."""
    _, d, h, w = volumes.shape
    grid = volumes.reshape(_ROWS, _COLUMNS, d, h, w).transpose(2, 0, 3, 1, 4)
    return grid.reshape(d, _ROWS * h, _COLUMNS * w)
