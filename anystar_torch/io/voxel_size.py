"""Voxel sizes of files in micrometres, by one table of rules for all formats.

Sources: the OME schema (lengths without a unit are micrometres), NIfTI-1 (xyzt_units), ImageJ's
ij/io/TiffDecoder.java and ij/io/FileOpener.java (class :class:`ImageJCalibration`), OME-NGFF 0.4 and 0.5 (units by
their UDUNITS-2 names), NRRD ("space units").
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Spacing = tuple[float, float, float]

_PREFIXES = {
    "p": ("pico", 1e-6),
    "n": ("nano", 1e-3),
    "u": ("micro", 1.0),
    "m": ("milli", 1e3),
    "c": ("centi", 1e4),
    "d": ("deci", 1e5),
    "k": ("kilo", 1e9),
}

#: One unit in micrometres, by its name in lower case with "u" for both signs of micro.
MICROMETRES: dict[str, float] = {
    "m": 1e6,
    "metre": 1e6,
    "meter": 1e6,
    "metres": 1e6,
    "meters": 1e6,
    **{f"{short}m": size for short, (_, size) in _PREFIXES.items()},
    **{
        f"{prefix}{metre}": size
        for prefix, size in _PREFIXES.values()
        for metre in ("metre", "meter", "metres", "meters")
    },
    "micron": 1.0,
    "microns": 1.0,
    "um.": 1.0,
    "micro": 1.0,
    "mcm": 1.0,
    "inch": 25400.0,
    "inches": 25400.0,
    "in": 25400.0,
    '"': 25400.0,
    "angstrom": 1e-4,
    "angstroms": 1e-4,
    "\u00e5": 1e-4,
}

SMALLEST, LARGEST = 1e-3, 1e4  # micrometres: a nanometre, a centimetre
MOST_ELONGATED = 50.0  # longest side of a voxel through its shortest
_ROUNDING = 1e-6  # sizes are stored as fractions and single precision


def micrometres(unit: str | None) -> float | None:
    """Micrometres per ``unit``; None where it is not a unit of length ("pixel", "", None).

    Args:
        unit: name or symbol as in a file, in upper or lower case.
    """
    return MICROMETRES.get(
        unescaped(unit or "").strip().lower().replace("\u00b5", "u").replace("\u03bc", "u")
    )


def unescaped(text: str) -> str:
    r"""Text with Java's escapes (``\u00B5m``, ``\u00b5m``) as characters; ImageJ writes units so.

    Args:
        text: of a file's metadata.
    """
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)


def voxel_size(
    sizes: Mapping[str, Any], units: Mapping[str, str | None], where: str
) -> tuple[Spacing | None, str]:
    """Spacing (z, y, x) and its unit: "um", or "" where only the ratios of the sizes are known.

    Args:
        sizes: numbers or text of the file by axis ("z", "y", "x"). Signs are directions and are ignored.
        units: unit of each size by axis.
        where: name of the file in errors.

    Returns:
        None and "" where a size is missing, zero, infinite or not a number, or where only some have a unit of length.

    Raises:
        ValueError: the size is implausible for a microscope or scanner.
    """
    values = [_number(sizes.get(axis)) for axis in "zyx"]
    if not all(math.isfinite(value) and value > 0 for value in values):
        return None, ""
    factors = [micrometres(units.get(axis)) for axis in "zyx"]
    known = [factor for factor in factors if factor is not None]
    if len(known) not in (0, 3):
        return None, ""
    z, y, x = (value * factor for value, factor in zip(values, known or [1.0] * 3, strict=True))
    spacing, unit = (z, y, x), "um" if known else ""
    check_plausible(spacing, unit, where)
    return spacing, unit


def check_plausible(spacing: Spacing, unit: str, where: str) -> None:
    """Refuse an implausible voxel size.

    Args:
        spacing: sizes (z, y, x), positive.
        unit: "um", or "" where only the ratios of the sizes are known.
        where: name of the file in errors.

    Raises:
        ValueError: the voxel is more than 50 times as long as wide, or a size is below a nanometre or above a
            centimetre.
    """
    told = (
        f"{where} has a voxel size of {' x '.join(f'{size:.6g}' for size in spacing)}{' um' if unit else ''}"
    )
    way_out = "set spacing= (z, y, x in micrometres)"
    if max(spacing) > MOST_ELONGATED * min(spacing) * (1 + _ROUNDING):
        raise ValueError(f"{told}: more than {MOST_ELONGATED:g} times as long as wide; {way_out}")
    if unit and min(spacing) < SMALLEST * (1 - _ROUNDING):
        raise ValueError(f"{told}: below a nanometre; {way_out}")
    if unit and max(spacing) > LARGEST * (1 + _ROUNDING):
        raise ValueError(f"{told}: above a centimetre; {way_out}")


def checked_spacing(spacing: Any) -> Spacing:
    """A spacing (z, y, x) as three floats.

    Args:
        spacing: three numbers.

    Raises:
        ValueError: it is not three positive numbers.
    """
    try:
        values = tuple(float(size) for size in spacing)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(math.isfinite(size) and size > 0 for size in values):
        raise ValueError(f"spacing must be three positive numbers (z, y, x), got {spacing!r}")
    return values


def _number(value: Any) -> float:
    """The absolute value of a size; NaN where it is not a number."""
    try:
        return abs(float(value))
    except (TypeError, ValueError):
        return math.nan


@dataclass(frozen=True)
class ImageJCalibration:
    """Voxel size of an ImageJ TIFF, by the arithmetic of ImageJ itself.

    Attributes:
        description: fields of the image description ("unit", "spacing", "yunit", "zunit").
        resolution: pixels per unit (x, y) of the tags XResolution and YResolution; None where absent or zero.
        resolution_unit: tag ResolutionUnit: 1 none, 2 inch, 3 centimetre.
    """

    description: Mapping[str, Any]
    resolution: tuple[float | None, float | None]
    resolution_unit: int

    def sizes_and_units(self) -> tuple[dict[str, float | None], dict[str, str | None]]:
        """Sizes and units by axis.

        ImageJ reads the unit of the tags first; that of the description replaces it. "um" beside centimetres means
        that the tags are in centimetres (Micro-Manager writes this). 72 per inch means no calibration.
        """
        unit = unescaped(str(self.description.get("unit") or ""))
        x, y = (1.0 if not per_unit else 1 / per_unit for per_unit in self.resolution)
        if self.resolution_unit == 2 and x == 1 / 72:
            x = y = 1.0
        if self.resolution_unit == 3 and unit == "um":
            x, y = x * 1e4, y * 1e4
        calibrated = micrometres(unit) is not None
        # ImageJ writes no spacing of exactly 1. Without a unit the distance of the slices is unknown.
        z = _number(self.description.get("spacing", 1.0 if calibrated else None))
        if unit == "cm" and x <= 1e-4:  # ImageJ shows such sizes in micrometres; a depth of 1 stays 1
            x, y, z, unit = x * 1e4, y * 1e4, z if z == 1 else z * 1e4, "um"
        own = {axis: self.description.get(f"{axis}unit") for axis in "zy"}
        units = {axis: unescaped(str(own.get(axis) or unit)) for axis in "zyx"}
        return {"z": z, "y": y, "x": x}, dict(units)
