"""Voxel size, units and place of a volume in the words of OME-Zarr."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from numpy.typing import NDArray

from anystar_torch.io import ome_place
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
        cls, spacing: Spacing | None, unit: str, style: Any, affine: Float[NDArray[Any], "4 4"] | None
    ) -> "Placement":
        """The placement of a volume: that of its OME-Zarr image with its own units, or one in micrometres.

        Args:
            spacing: voxel size that is used; it may differ from that of the file.
            unit: "um" where ``spacing`` is in micrometres, "" where only its ratios are known.
            style: style of the file that was read.
            affine: maps a voxel index (x, y, z) to millimetres; None where the volume has no place.
        """
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
