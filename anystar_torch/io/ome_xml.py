"""What the XML description of an OME-TIFF says of its files, voxel sizes and stage positions.

Source: the OME schema of June 2016 (elements Pixels, TiffData, UUID and Plane).
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.tiff_log import complained
from anystar_torch.io.voxel_size import micrometres, voxel_size

_UNKNOWN = "reference frame"  # the schema's unit of a stage position that gives none


def pixels_of(xml: str) -> list[Any]:
    """The elements Pixels of a description, one per image; those without planes count where all are without.

    Args:
        xml: the description.
    """
    found = [element for element in ElementTree.fromstring(xml).iter() if element.tag.endswith("Pixels")]
    return [pixels for pixels in found if any(inner.tag.endswith("TiffData") for inner in pixels)] or found


def sizes_and_units(pixels: Any) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and their units by axis.

    Args:
        pixels: an element Pixels.
    """
    sizes = {axis: pixels.get(f"PhysicalSize{axis.upper()}") for axis in "zyx"}
    return sizes, {axis: pixels.get(f"PhysicalSize{axis.upper()}Unit", "\u00b5m") for axis in "zyx"}


def channel_names(pixels: Any) -> tuple[str, ...]:
    """Names of the channels, in their order; "" for a channel without a name.

    Args:
        pixels: an element Pixels.
    """
    return tuple(inner.get("Name") or "" for inner in pixels if inner.tag.endswith("Channel"))


def affine(pixels: Any) -> Float[np.ndarray, "4 4"] | None:
    """From voxel index (x, y, z) to millimetres, by the stage position of the first plane.

    The step along z is negative where the stage moves down from plane to plane.

    Args:
        pixels: an element Pixels.

    Returns:
        None where the voxel size or a position is unknown, or where both x and y are 0: programs without a stage
        write that.
    """
    try:
        spacing, unit = voxel_size(*sizes_and_units(pixels), "")
    except ValueError:
        return None
    planes = [
        plane
        for plane in pixels
        if plane.tag.endswith("Plane") and plane.get("TheC") == "0" and plane.get("TheT") == "0"
    ]
    planes = sorted(planes, key=lambda plane: int(plane.get("TheZ", 0)))
    if spacing is None or not unit or not planes or planes[0].get("TheZ") != "0":
        return None
    place = [_position(planes[0], axis) for axis in "XYZ"]
    known = [value for value in place if value is not None]
    if len(known) < 3 or not np.isfinite(known).all() or known[:2] == [0, 0]:
        return None
    last = _position(planes[-1], "Z")
    down = last is not None and last < known[2]
    matrix = np.diag([spacing[2], spacing[1], -spacing[0] if down else spacing[0], 1000.0]) / 1000
    matrix[:3, 3] = np.array(known) / 1000
    return matrix


def _position(plane: Any, axis: str) -> float | None:
    """A stage position in micrometres; None where it or its unit of length is unknown."""
    unit = micrometres(plane.get(f"Position{axis}Unit", _UNKNOWN))
    try:
        return None if unit is None else float(plane.get(f"Position{axis}")) * unit
    except (TypeError, ValueError):
        return None


def stage_positions(like: SpatialImage, shape: tuple[int, ...]) -> dict[str, list[Any]]:
    """Stage positions of the planes of labels, as tifffile writes them; empty where the volume has none.

    A place that turns or mirrors x or y cannot be expressed, and gives none.

    Args:
        like: the volume that the labels belong to.
        shape: of the labels, ([T], D, H, W).
    """
    if like.affine is None or not like.unit:
        return {}
    steps = np.diag(like.affine[:3, :3])
    if not np.allclose(like.affine[:3, :3], np.diag(steps)) or min(steps[:2]) <= 0:
        return {}
    x, y, z = (like.affine[:3, 3] * 1000).tolist()
    times = shape[0] if len(shape) == 4 else 1
    heights = [z + number * float(steps[2]) * 1000 for number in range(shape[-3])] * times
    placed: dict[str, list[Any]] = {}
    for axis, values in {"X": [x] * len(heights), "Y": [y] * len(heights), "Z": heights}.items():
        placed |= {f"Position{axis}": values, f"Position{axis}Unit": ["\u00b5m"] * len(heights)}
    return placed


def description(xml: str, path: Path) -> str:
    """The description of the set that a file belongs to: its own, or that of the file that it names (BinaryOnly).

    Args:
        xml: of the file itself.
        path: of the file; the described set lies in the same folder.

    Raises:
        ValueError: the file that holds the description is not there, or holds none.
    """
    found = (inner for inner in ElementTree.fromstring(xml) if inner.tag.endswith("BinaryOnly"))
    only = next(found, None)
    if only is None:
        return xml
    other = path.parent / (only.get("MetadataFile") or "")
    told = f"{path} is one file of a set: {other} describes it"
    if not other.is_file():
        raise ValueError(f"{told}, and is not there")
    if other.suffix.lower() not in (".tif", ".tiff"):
        return other.read_text(encoding="utf-8")
    with complained(other) as file:
        if not file.is_ome or pixels_of(file.ome_metadata) == []:
            raise ValueError(f"{told}, and holds no description")
        return str(file.ome_metadata)


def check_set(xml: str, path: Path) -> None:
    """Refuse an OME-TIFF whose planes lie in other files that are not there or cannot be opened.

    Args:
        xml: what :func:`description` returned.
        path: of the file; the others of its set lie in the same folder.

    Raises:
        ValueError: names the first such file.
    """
    root = ElementTree.fromstring(xml)
    uuids = {part.get("FileName") or "": part.text for part in root.iter() if part.tag.endswith("UUID")}
    for name, uuid in uuids.items():
        if uuid == root.get("UUID") or name in ("", path.name):
            continue
        other = path.parent / name
        told = f"{path} is one file of a set: {other} holds other planes of it"
        if not other.is_file():
            raise ValueError(f"{told}, and is not there")
        try:
            with complained(other) as part:
                len(part.pages)
        except ValueError as error:
            raise ValueError(f"{told}, and cannot be read") from error
