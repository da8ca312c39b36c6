"""The volume, spacing and diameter that a user gives, checked and converted."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.arrays import LazyVoxels, Spacing, Triple
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.io.axes import Box, not_a_volume
from anystar_torch.io.voxel_size import micrometres


@dataclass(frozen=True)
class InputVolume:
    """A volume that was checked.

    Attributes:
        voxels: real numbers, (z, y, x).
        spacing: voxel size (z, y, x), of which only the ratios matter.
        intensity_range: grey values that are mapped to 0 and 1.
        beyond: voxels by which the image goes on before the first voxel and after the last one, each (z, y, x), where
            the volume is a part of it.
    """

    voxels: Shaped[np.ndarray, "d h w"] | LazyVoxels
    spacing: Spacing
    intensity_range: IntensityRange
    beyond: tuple[Triple, Triple] = ((0, 0, 0), (0, 0, 0))

    @property
    def shape(self) -> Triple:
        """Number of voxels, (z, y, x)."""
        z, y, x = self.voxels.shape
        return z, y, x

    @property
    def longest_side(self) -> float:
        """Length of the longest side, in voxels of the finest axis."""
        return float(
            max(
                n * (step / min(self.spacing))
                for n, step in zip(self.voxels.shape, self.spacing, strict=True)
            )
        )

    def part(self, box: Box) -> "InputVolume":
        """A part of the volume, which is read.

        Args:
            box: the part, in voxels.
        """
        return replace(self, voxels=np.asarray(self.voxels[box]), beyond=beyond(box, self.shape))


def beyond(box: Box, shape: Triple) -> tuple[Triple, Triple]:
    """Voxels by which a volume goes on before and after a part of it, each (z, y, x).

    Args:
        box: the part.
        shape: of the volume, (z, y, x).
    """
    z, y, x = (side.start for side in box)
    d, h, w = (size - side.stop for side, size in zip(box, shape, strict=True))
    return (z, y, x), (d, h, w)


def checked_array(volume: NDArray[Any] | Tensor) -> Shaped[np.ndarray, "d h w"]:
    """The volume as a NumPy array.

    Args:
        volume: NumPy array or torch tensor, (z, y, x). Masked voxels become NaN.

    Raises:
        TypeError: it is no array, or not of real numbers.
        ValueError: it does not have three axes, or no voxels.
    """
    if isinstance(volume, Tensor):
        if volume.is_meta:
            raise TypeError("volume must hold numbers, got a tensor of the device meta")
        volume = volume.detach().cpu().resolve_neg()
        array = (volume.float() if volume.dtype == torch.bfloat16 else volume).numpy()
    elif isinstance(volume, np.ma.MaskedArray):  # masked voxels have no value
        array = np.where(np.ma.getmaskarray(volume), np.float32(np.nan), volume.data.astype(np.float32))
    else:
        array = volume
    if not isinstance(array, np.ndarray):
        raise TypeError(f"volume must be a NumPy array or a torch tensor, got {type(volume).__name__}")
    if array.dtype.kind not in "uifb":
        raise TypeError(f"volume must hold real numbers, got {array.dtype}")
    if array.ndim != 3:
        raise ValueError(not_a_volume("the volume", array.shape))
    if not array.size:
        raise ValueError(f"the volume holds no voxels: its shape is {array.shape}")
    return array


def validated_spacing(spacing: Sequence[float | int]) -> Spacing:
    """The spacing as three floats.

    Args:
        spacing: voxel size, (z, y, x).

    Raises:
        ValueError: it is not three positive numbers.
    """
    try:
        values = tuple(float(value) for value in spacing)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"spacing must be three positive numbers (z, y, x), got {spacing!r}")
    return values


def diameter_in_voxels(diameter: float | int | str, spacing: Sequence[float | int] | None) -> float:
    """A diameter in voxels of the finest axis.

    Args:
        diameter: number of such voxels, or text with a unit: "8um", "0.5 mm".
        spacing: voxel size (z, y, x) in micrometres; needed if the diameter has a unit.

    Raises:
        ValueError: the text is no length, the diameter is not positive, or it has a unit and there is no spacing.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([^\d\s]*)\s*", str(diameter))
    try:
        value = float(match.group(1)) if match else math.nan
    except ValueError:
        value = math.nan
    unit = match.group(2) if match else ""
    in_voxels = unit in ("", "px")
    factor = 1.0 if in_voxels else micrometres(unit)
    if not (math.isfinite(value) and value > 0) or factor is None:
        raise ValueError(
            f"diameter must be a positive number of voxels or a length such as 8um, got {diameter!r}"
        )
    if in_voxels:
        return value
    if spacing is None:
        raise ValueError(
            f"diameter {diameter!r} has a unit, and the voxel size is unknown: give spacing (z, y, x)"
        )
    return value * factor / min(spacing)
