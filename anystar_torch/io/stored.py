"""An image as its file stores it: what every reader yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An array with named axes, voxel sizes by axis name, and its place where the format has one.

    A reader yields it from ``opened(path)``, a context manager; the array can be read until that block ends.

    Attributes:
        array: has a shape, and is indexed with a tuple of one integer or slice per dimension.
        dtype: number type of the voxels that indexing gives.
        axes: one name per dimension, as the file says it; "" where the file names none.
        sizes: voxel size by axis name ("z", "y", "x"); positive where the file is right.
        units: unit of ``sizes`` by axis name, as the file says it; None or absent where the file gives none.
        affine: from voxel index (x, y, z) to millimetres right, anterior, superior; None where no place is known.
        style: what the format's own writer needs for labels of this image.
        whole: whether no part can be read without the rest.
    """

    array: Any
    dtype: np.dtype[Any]
    axes: tuple[str, ...]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str | None] = field(default_factory=dict)
    affine: Float[NDArray[Any], "4 4"] | None = None
    style: Any = None
    whole: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions, as Python integers."""
        return tuple(int(size) for size in self.array.shape)
