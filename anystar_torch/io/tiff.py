"""TIFF: ImageJ hyperstacks, OME-TIFF and plain stacks, with axes and voxel size from their metadata."""

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Integer

from anystar_torch.io import ome_xml
from anystar_torch.io.bioimage import scene_number
from anystar_torch.io.run_record import RunRecord, is_record
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.tiff_log import complained
from anystar_torch.io.tiff_series import all_series
from anystar_torch.io.tiff_stack import Stack
from anystar_torch.io.voxel_size import ImageJCalibration

_GREY = "minisblack"  # otherwise tifffile takes three or four voxels along x for colours
_VOLUME = "volume"  # a key for stacks, which ImageJ ignores


@contextmanager
def opened(path: Path, scene: str | None = None) -> Iterator[StoredImage]:
    """Open a file with one volume, or with one series of volumes.

    Args:
        path: the file.
        scene: name or number of the volume in an OME-TIFF that holds several, such as positions of a stage.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the file is broken, or holds several volumes.
    """
    with complained(path) as file:
        xml = ome_xml.description(file.ome_metadata, path) if file.is_ome else ""
        if xml:
            ome_xml.check_set(xml, path)
        described = ome_xml.pixels_of(xml) if xml else []
        every = all_series(file, path, xml)
        series, number = _series(every, len(described), path, scene)
        stack = Stack(file, series, every, path)
        if not set(stack.axes) - set("TCYXS") and _is_one_slice(file, stack.axes):
            stack.with_z()
        pixels = described[number] if described else None
        sizes, units = _sizes(file, pixels)
        yield StoredImage(
            array=stack,
            dtype=stack.dtype,
            axes=tuple(stack.axes),
            sizes=sizes,
            units=units,
            affine=None if pixels is None else ome_xml.affine(pixels),
            style="ome" if file.is_ome else "imagej",
            whole=stack.at_once,
            channel_names=() if pixels is None else ome_xml.channel_names(pixels),
        )


def scene_names(path: Path) -> tuple[str, ...]:
    """Names of the images of an OME-TIFF that holds several volumes; one or none for other files.

    Args:
        path: the file.

    Raises:
        ValueError: the file is broken.
    """
    with complained(path) as file:
        xml = ome_xml.description(file.ome_metadata, path) if file.is_ome else ""
        every = all_series(file, path, xml)
        if _volumes(every) < 2 or every[0].kind != "ome":
            return ()
        return tuple(str(one.name) for one in every)


def record_text(path: Path) -> str | None:
    """The text of the run record in the metadata; None where there is none.

    Args:
        path: the file.
    """
    with complained(path) as file:
        if file.is_ome:
            elements = ElementTree.fromstring(file.ome_metadata).iter()
            texts = [element.text for element in elements if element.tag.endswith("Description")]
        else:
            texts = [(file.imagej_metadata or {}).get("Info")]
    return next((text for text in texts if text and is_record(text)), None)


def _series(every: Sequence[Any], described: int, path: Path, scene: str | None) -> tuple[Any, int]:
    """The volume, or series of volumes, that is meant, and its number among the images of the file.

    Raises:
        ValueError: the file holds several, such as the positions of a stage, and none is chosen.
    """
    several = _volumes(every)
    if scene is not None and every[0].kind == "ome":
        number = scene_number(scene, [one.name for one in every], path)
        if len(every) != described:
            raise ValueError(
                f"{path} describes images that it does not hold; its scenes cannot be told apart"
            )
        return every[number], number
    if scene not in (None, "0"):
        raise ValueError(f"{path} has one scene, got scene={scene}; choose 0")
    if several > 1 and every[0].kind == "ome":
        scene_number(None, [one.name for one in every], path)
    if several > 1 and every[0].kind != "generic":  # a generic file has a series per way of storing a page
        raise ValueError(f"{path} holds {several} volumes (positions); save one of them to its own file")
    return every[0], 0


def _volumes(every: Sequence[Any]) -> int:
    """Number of series that are volumes."""
    return sum(bool(set(one.axes) - set("TCYXS")) for one in every if not one.keyframe.is_reduced)


def _is_one_slice(file: Any, axes: str) -> bool:
    """Whether a file without a z axis is a volume of one slice. Both styles leave the axis out then.

    A run record stands in the metadata of volumes alone.
    """
    if file.is_imagej:
        metadata = file.imagej_metadata or {}
        # ImageJ writes a spacing for stacks only, so one beside a single image means a stack.
        stack = axes == "YX" and bool({"spacing", _VOLUME} & set(metadata))
        return stack or is_record(str(metadata.get("Info")))
    return bool(file.is_ome) and is_record(html.unescape(file.ome_metadata))


def _sizes(file: Any, pixels: Any) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and their units by axis. A plain TIFF has none: its resolution is meant for printing."""
    if pixels is not None:
        return ome_xml.sizes_and_units(pixels)
    if not file.is_imagej:
        return {}, {}
    tags = file.pages[0].tags
    x, y = (_per_unit(tags.get(name)) for name in ("XResolution", "YResolution"))
    unit = tags.get("ResolutionUnit")
    unit = 1 if unit is None else int(unit.value)
    return ImageJCalibration(file.imagej_metadata or {}, (x, y), unit).sizes_and_units()


def _per_unit(tag: Any) -> float | None:
    """Pixels per unit from a resolution tag, a fraction; None where it is absent or zero."""
    if tag is None or not tag.value[0] or not tag.value[1]:
        return None
    return float(tag.value[0] / tag.value[1])


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as ImageJ hyperstack, or as OME-TIFF.

    OME-TIFF is written for names that end in .ome.tif, where ``like`` was read from one, and for 32-bit labels,
    because ImageJ has no 32-bit integers.

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: whose spacing and style the labels get.
        record: what made the labels.
    """
    import tifffile

    text = "" if record is None else record.to_json()
    named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    if like.geometry == "ome" or named_ome or labels.dtype != np.uint16:
        metadata = _ome_metadata(labels.shape, like, text)
        tifffile.imwrite(path, labels, ome=True, metadata=metadata, compression="zlib", photometric=_GREY)
        return
    about: dict[str, Any] = {"axes": "TZYX"[-labels.ndim :], "Info": text, _VOLUME: "true"}
    if like.spacing is not None:
        about |= {"spacing": like.spacing[0], "unit": like.unit or "pixel"}
    per_unit = None if like.spacing is None else (1 / like.spacing[2], 1 / like.spacing[1])
    tifffile.imwrite(
        path,
        labels,
        imagej=True,
        photometric=_GREY,
        metadata=about,
        resolution=per_unit,
        resolutionunit="NONE",
    )


def _ome_metadata(shape: tuple[int, ...], like: SpatialImage, text: str) -> dict[str, Any]:
    """What tifffile writes into the description of an OME-TIFF of this shape, ([T], D, H, W)."""
    metadata: dict[str, Any] = {"axes": "TZYX"[-len(shape) :], "Description": text}
    for axis, size in zip("ZYX", like.spacing or (), strict=False):
        metadata[f"PhysicalSize{axis}"] = size
        metadata[f"PhysicalSize{axis}Unit"] = "µm" if like.unit else "pixel"
    placed = ome_xml.stage_positions(like, shape)
    return {**metadata, "Plane": placed} if placed else metadata
