"""An image as its file stores it, which every reader yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An array with named axes, voxel sizes by axis, and its place in space.

    Every format has a context manager ``opened(path)`` that yields it. The array can be read until its block ends.

    Attributes:
        array: has a shape, and is indexed with a tuple of one integer or slice per dimension.
        dtype: number type of the voxels after indexing.
        axes: one name per dimension, as in the file; "" for a dimension without a name.
        sizes: voxel size by axis ("z", "y", "x"), as in the file.
        unsized: why the file has no voxel size, for a format that must have one; "" for all others.
        units: unit of ``sizes`` by axis, as in the file; None or absent where the file has none.
        affine: maps a voxel index (x, y, z) to millimetres right, anterior, superior; None where the file has none.
        style: what the format's writer needs to write labels in the same style.
        whole: whether reading any part needs the whole image.
        levels: number of resolution levels of a pyramid.
        coarser: size of a voxel in those of the finest level, along every dimension; None for the finest level.
        blocks: sizes of the blocks along every dimension that are read at once; None where any part can be read.
        group: name of the OME-Zarr group of the image; None for other formats.
        channel_names: of the channels, in their order; empty where the file has none.
    """

    array: Any
    dtype: np.dtype[Any]
    axes: tuple[str, ...]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    unsized: str = ""
    units: Mapping[str, str | None] = field(default_factory=dict)
    affine: Float[np.ndarray, "4 4"] | None = None
    style: Any = None
    whole: bool = False
    levels: int = 1
    coarser: tuple[float, ...] | None = None
    blocks: tuple[int, ...] | None = None
    group: str | None = None
    channel_names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions, as Python integers."""
        return tuple(int(size) for size in self.array.shape)
