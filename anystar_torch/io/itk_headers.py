"""What the text headers of NRRD and MetaImage say of voxel sizes: ITK drops the units, and gives 1 where there is none.

Sources: the NRRD format ("space directions", "spacings", "space units", "units"), and MetaIO's documentation of
MetaImage ("ElementSpacing", "ElementSize", "DistanceUnits").
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 1 << 20  # bytes of a header that are looked at
_PLACED = (
    b"space",
    b"ElementSpacing",
    b"ElementSize",
    b"Offset",
    b"TransformMatrix",
    b"CenterOfRotation",
    b"Anatom",
)
_NONE = {"", "???", "none", "unknown", "?"}


@dataclass(frozen=True)
class HeaderUnits:
    """Units of a header.

    Attributes:
        sized: whether the header gives a voxel size.
        units: unit along x, y and z as the header says it; "mm" where it says none, as ITK and Slicer take it.
    """

    sized: bool
    units: tuple[str, str, str]


def header_units(path: Path) -> HeaderUnits:
    """Units and presence of the voxel size of an NRRD or MetaImage file.

    Args:
        path: the file; .nrrd and .nhdr are read as NRRD, every other ending as MetaImage.
    """
    return _nrrd(_fields(path, ":=?")) if is_nrrd(path) else _metaimage(_fields(path, "="))


def is_nrrd(path: Path) -> bool:
    """Whether a name is that of an NRRD file, and not of a MetaImage.

    Args:
        path: the name.
    """
    return path.suffix.lower() in (".nrrd", ".nhdr")


def check_data_file(path: Path, needed: int) -> None:
    """Refuse a MetaImage without its data file, or with fewer uncompressed bytes than its voxels are.

    ITK prints a line of its own for them.

    Args:
        path: the file; NRRD files are left to ITK.
        needed: bytes of the voxels.

    Raises:
        ValueError: names the data file.
    """
    fields = {} if is_nrrd(path) else _fields(path, "=")
    name = fields.get("elementdatafile", "")
    if not name or name.upper().startswith("LIST") or "%" in name:
        return
    data = path if name.upper() == "LOCAL" else path.parent / name
    if not data.is_file():
        raise ValueError(f"{path} names the data file {data}, which is not there")
    packed = fields.get("compresseddata", "").strip().lower() == "true"
    if not packed and data.stat().st_size < needed:
        raise ValueError(
            f"{path} declares {needed} bytes of voxels, and {data.name} holds {data.stat().st_size}"
        )


def _fields(path: Path, separator: str) -> dict[str, str]:
    """Entries of a text header by their names in lower case without spaces."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        for line in file.read(_LONGEST).split(b"\n"):
            text = line.decode("utf-8", "replace").strip()
            if not text and fields:
                break
            parts = re.split(f"\\s*{separator}\\s*", text, maxsplit=1)
            if len(parts) == 2 and not text.startswith("#"):
                name = parts[0].lower().replace(" ", "")
                fields.setdefault(name, parts[1])
                if name == "elementdatafile":
                    break
    return fields


def _nrrd(fields: dict[str, str]) -> HeaderUnits:
    directions = re.findall(r"none|\([^)]*\)", fields.get("spacedirections", ""))
    spatial = [entry for entry in directions if entry != "none"]
    spacings = [_number(text) for text in fields.get("spacings", "").split()]
    named = re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))
    if not named:
        units = re.findall(r'"([^"]*)"', fields.get("units", ""))
        placed = [entry != "none" for entry in directions] or [not math.isnan(size) for size in spacings]
        named = [unit for unit, is_space in zip(units, placed, strict=False) if is_space]
    sized = len(spatial) >= 3 or len([size for size in spacings if math.isfinite(size) and size > 0]) >= 3
    return HeaderUnits(sized, _three(named))


def _metaimage(fields: dict[str, str]) -> HeaderUnits:
    sizes = fields.get("elementspacing") or fields.get("elementsize") or ""
    return HeaderUnits(len(sizes.split()) >= 3, _three([fields.get("distanceunits", "")]))


def _three(named: list[str]) -> tuple[str, str, str]:
    """Units along x, y and z: one for all of them, or one for each."""
    known = ["mm" if unit.strip().lower() in _NONE else unit.strip() for unit in named[:3]] or ["mm"]
    x, y, z = (known * 3)[:3] if len(known) == 1 else [*known, "mm", "mm"][:3]
    return x, y, z


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def rewritten(content: bytes, unit: str | None, sized: bool) -> bytes:
    """An NRRD or MetaImage file that ITK wrote, with what ITK leaves out: its unit, or that it has no voxel size.

    Args:
        content: of the file.
        unit: of the sizes in it; None for millimetres, which need no mention.
        sized: False removes the voxel size, the place and the directions that ITK made up.
    """
    nrrd = content.startswith(b"NRRD")
    end = content.index(b"\n\n" if nrrd else b"ElementDataFile")
    lines = content[:end].split(b"\n")
    if not sized:
        lines = [line for line in lines if not line.startswith(_PLACED)]
    elif unit is not None and nrrd:
        lines.append(b"space units: " + " ".join([f'"{unit}"'] * 3).encode())
    elif unit is not None:
        lines.insert(-1, f"DistanceUnits = {unit}".encode())
    return b"\n".join(lines) + content[end:]
