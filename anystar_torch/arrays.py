"""Shapes of arrays, and the types that all rooms share.

Arrays are ZYX: ``[B, 1, D, H, W]`` with D along z. Images are float32, labels int32 (0 = background). The package
accepts nothing else inside; :mod:`anystar_torch.io` converts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

Volume = Float32[Tensor, "b 1 d h w"]
Labels = Int32[Tensor, "b 1 d h w"]
Mask = Bool[Tensor, "b 1 d h w"]
PerSample = Float32[Tensor, " b"]
PerSampleAxis = Float32[Tensor, "b 3"]

Triple = tuple[int, int, int]
"""Three whole numbers along (z, y, x): a shape, a grid, a position in voxels."""
Spacing = tuple[float, float, float]
"""Three lengths along (z, y, x)."""


@runtime_checkable
class LazyVoxels(Protocol):
    """A volume of which boxes are read on demand."""

    @property
    def shape(self) -> Triple:
        """Number of voxels, (z, y, x)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the voxels."""
        ...

    def __getitem__(self, box: Any) -> Any:
        """The voxels of a box, as a NumPy array.

        Args:
            box: three slices with a start and a stop, (z, y, x).
        """
        ...


@dataclass(frozen=True)
class Sample:
    """A batch of synthetic volumes.

    Attributes:
        image: ``[B, 1, D, H, W]`` float32 in [0, 1].
        labels: ``[B, 1, D, H, W]`` int32, 0 = background; every id is one object of its sample.
    """

    image: Volume
    labels: Labels


def per_voxel(parameter: PerSample) -> Float32[Tensor, "b 1 1 1 1"]:
    """A parameter of each sample, shaped to broadcast over the voxels of ``[B, 1, D, H, W]``.

    Args:
        parameter: ``[B]``.
    """
    return parameter[:, None, None, None, None]


def three_positive(name: str, values: Sequence[float | int]) -> Spacing:
    """The three numbers as floats, for example a voxel size or an anisotropy.

    Args:
        name: name of the argument, for the error.
        values: along (z, y, x).

    Raises:
        ValueError: ``values`` are not three positive finite numbers.
    """
    if len(values) != 3 or not all(0 < value < math.inf for value in values):
        raise ValueError(f"{name} must be three positive numbers (z, y, x), got {tuple(values)}")
    return float(values[0]), float(values[1]), float(values[2])
