"""A volume with its voxel size and its place in space."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True)
class SpatialImage:
    """A volume as it was read from a file.

    Attributes:
        array: ``[D, H, W]`` (z, y, x), in the number type of the file.
        spacing: voxel size (z, y, x), positive; None where the file has none.
        unit: "um" where ``spacing`` is in micrometres, "" where only its ratios are known.
        path: the file; None for an array that was not read from a file.
        geometry: what the format needs to write labels in the same style (a header, or the name of a style).
        affine: maps a voxel index (x, y, z) to millimetres right, anterior, superior (RAS); None where the file has
            no place in space.
    """

    array: Shaped[np.ndarray, "d h w"]
    spacing: tuple[float, float, float] | None = None
    unit: str = ""
    path: Path | None = None
    geometry: Any = None
    affine: Float[np.ndarray, "4 4"] | None = None
