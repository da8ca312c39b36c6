"""Metadata of an OME-Zarr label image, made and checked by the models of ome-zarr-models."""

from collections.abc import Sequence
from typing import Any, Literal

from anystar_torch.io.label_layout import Level
from anystar_torch.io.placement import Placement

RECORD = "anystar"  # of the run record in the attributes of the group
Version = Literal["0.4", "0.5"]  # of OME-Zarr: 0.4 lies in Zarr 2, 0.5 in Zarr 3


def axis_names(dimensions: int) -> tuple[str, ...]:
    """Names of the axes of labels: (t), z, y, x.

    Args:
        dimensions: 3 or 4.
    """
    return tuple("tzyx"[-dimensions:])


def attributes(
    levels: Sequence[Level], placement: Placement, *, version: Version, name: str, source: str | None
) -> dict[str, Any]:
    """The attributes of the group of a label image.

    Args:
        levels: of its pyramid.
        placement: voxel size, units and place of level 0.
        version: of OME-Zarr.
        name: of the image.
        source: path of the group of the volume, relative to the labels; None where they lie elsewhere.

    Raises:
        ValueError: the models refuse the metadata.
    """
    multiscale = {
        "name": name,
        "type": "most frequent label",
        "axes": _axes(levels[0], placement),
        "datasets": [_dataset(number, level, placement) for number, level in enumerate(levels)],
    }
    about: dict[str, Any] = {"multiscales": [multiscale]}
    about["image-label"] = {} if source is None else {"source": {"image": source}}
    if version == "0.4":
        from ome_zarr_models.v04.image_label import ImageLabelAttrs

        about["image-label"]["version"] = multiscale["version"] = version
        ImageLabelAttrs.model_validate(about)
        return about
    from ome_zarr_models.v05.image_label import ImageLabelAttrs as ImageLabelAttrsV05

    about["version"] = version
    ImageLabelAttrsV05.model_validate(about)
    return {"ome": about}


def listed(names: Sequence[str], version: Version) -> dict[str, Any]:
    """What the attributes of a group "labels" say about the label images in it.

    Args:
        names: of the label images.
        version: of OME-Zarr.
    """
    return {"labels": list(names)} | ({} if version == "0.4" else {"version": version})


def _axes(level: Level, placement: Placement) -> list[dict[str, Any]]:
    units = dict(zip("tzyx", (placement.time_unit, *placement.units), strict=True))
    return [
        {"name": axis, "type": "time" if axis == "t" else "space"}
        | ({"unit": units[axis]} if units[axis] else {})
        for axis in axis_names(len(level.shape))
    ]


def _dataset(number: int, level: Level, placement: Placement) -> dict[str, Any]:
    """One level: its path, the size of its voxels, and the centre of its first voxel."""
    time = [placement.time_scale] * (len(level.shape) - 3)
    step = [*time, *(placement.scale or (1.0, 1.0, 1.0))]
    place = [*([0.0] * len(time)), *(placement.translation or (0.0, 0.0, 0.0))]
    scale = [size * factor for size, factor in zip(step, level.scale, strict=True)]
    # a voxel of a coarse level covers several of level 0; its centre lies between theirs
    centre = [p + s * (f - 1) / 2 for p, s, f in zip(place, step, level.scale, strict=True)]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(centre) or placement.translation is not None:
        transforms.append({"type": "translation", "translation": centre})
    return {"path": str(number), "coordinateTransformations": transforms}
