"""Voxel size, units and place of a volume as they are written: in the words of OME-Zarr, or as an affine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from anystar_torch.io import ome_place
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.voxel_size import Spacing, micrometres, voxel_size

#: OME-Zarr's names of the units that other formats write in another way.
_NAMES = {
    1e-4: "angstrom",
    1e-3: "nanometer",
    1.0: "micrometer",
    1e3: "millimeter",
    1e4: "centimeter",
    1e6: "meter",
}
_SAME = 1e-3  # of lengths: the sizes in a NIfTI header may differ as much from its affine without being another size

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Placement:
    """Voxel size, units and place of a volume, along (z, y, x).

    Attributes:
        scale: voxel size; None where it is not known.
        units: OME-Zarr's name of the unit of each axis; None where it has none.
        translation: place of the centre of the first voxel, in the units; None where the volume has no place.
        time_scale: time from one time point to the next.
        time_unit: unit of ``time_scale``; None where it is not known.
    """

    scale: Spacing | None = None
    units: tuple[str | None, str | None, str | None] = (None, None, None)
    translation: Spacing | None = None
    time_scale: float = 1.0
    time_unit: str | None = None

    @classmethod
    def of(
        cls, spacing: Spacing | None, unit: str, style: Any, affine: Float[np.ndarray, "4 4"] | None
    ) -> "Placement":
        """The placement of a volume: that of its OME-Zarr image with its own units, or one in micrometres.

        Args:
            spacing: voxel size that is used; it may differ from that of the file.
            unit: "um" where ``spacing`` is in micrometres, "" where only its ratios are known.
            style: style of the file that was read.
            affine: maps a voxel index (x, y, z) to millimetres; None where the volume has no place.
        """
        if isinstance(style, ome_place.Origin) and affine is not None:
            style, affine = _in_order(style, affine)
        if isinstance(style, ome_place.Origin) and _implied(style) == (spacing, unit) and spacing is not None:
            place = style.translation
            time = style.sizes.get("t")
            return cls(
                scale=_three([style.sizes[axis] for axis in "zyx"]),
                units=(
                    _named(style.units.get("z")),
                    _named(style.units.get("y")),
                    _named(style.units.get("x")),
                ),
                translation=_three([place[axis] for axis in "zyx"])
                if all(a in place for a in "zyx")
                else None,
                time_scale=float(time or 1.0),
                time_unit=style.units.get("t") if time else None,
            )
        found = ome_place.translation_of(unit, style, affine)
        name = "micrometer" if unit else None
        return cls(spacing, (name, name, name), None if found is None else _three(found))


def sized_affine(image: SpatialImage) -> Float[np.ndarray, "4 4"] | None:
    """The affine of a volume, with columns that are as long as its spacing; None where it has no affine.

    The two differ where the caller gave the spacing. Direction and origin stay.

    Args:
        image: the volume.
    """
    if image.affine is None or image.spacing is None or not image.unit:
        return image.affine
    steps = np.array(image.spacing[::-1]) / 1000
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.allclose(lengths, steps, rtol=_SAME, atol=0):
        return image.affine
    sized = image.affine.astype(np.float64)
    sized[:3, :3] *= steps / lengths
    return sized


def _in_order(
    style: ome_place.Origin, affine: Float[np.ndarray, "4 4"]
) -> tuple[ome_place.Origin, Float[np.ndarray, "4 4"]]:
    """Style and affine of an OME-Zarr image with its axes called as those of the volume.

    The caller may have renamed the axes. Each column of the affine then tells which axis of the file it was, because
    an OME-Zarr image has no rotation.
    """
    rows = np.abs(affine[:3, :3]).argmax(axis=0)
    old = {new: "xyz"[row] for new, row in zip("xyz", rows, strict=True)}

    def renamed(values: Mapping[str, _Value]) -> dict[str, _Value]:
        return {**values, **{new: values[name] for new, name in old.items() if name in values}}

    moved = ome_place.Origin(renamed(style.translation), renamed(style.sizes), renamed(style.units))
    return moved, affine[[*rows, 3]]


def _implied(style: ome_place.Origin) -> tuple[Spacing | None, str]:
    """The spacing that a volume of this style has; None where its size is implausible."""
    try:
        return voxel_size(style.sizes, style.units, "")
    except ValueError:
        return None, ""


def _named(unit: str | None) -> str | None:
    """OME-Zarr's name of a unit of length: "micrometer" for "um"; an unknown name stays."""
    length = micrometres(unit)
    return unit if length is None else _NAMES.get(length, unit)


def _three(values: Sequence[float]) -> Spacing:
    z, y, x = map(float, values)
    return z, y, x
