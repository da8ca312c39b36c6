"""Where an OME-Zarr image lies: its translations, which crops have, as an affine and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from anystar_torch.io.voxel_size import micrometres


@dataclass(frozen=True)
class Origin:
    """Style of an OME-Zarr image.

    Attributes:
        translation: place of the first voxel by axis name, in the units of the image; empty where it has none.
        sizes: voxel size by axis name.
        units: by axis name.
    """

    translation: Mapping[str, float]
    sizes: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str | None] = field(default_factory=dict)


def origin(names: Sequence[str], transforms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Place of the first voxel by axis; empty where no transform is a translation.

    Args:
        names: of the axes.
        transforms: those of the level, then those of the image; they are applied in this order.
    """
    place, translated = np.zeros(len(names)), False
    for transform in transforms:
        if transform["type"] == "scale":
            place = place * np.asarray(transform["scale"], dtype=float)
        elif transform["type"] == "translation":
            place, translated = place + np.asarray(transform["translation"], dtype=float), True
    return dict(zip(names, place.tolist(), strict=True)) if translated else {}


def affine(
    sizes: Mapping[str, float], units: Mapping[str, str | None], place: Mapping[str, float]
) -> Float[np.ndarray, "4 4"] | None:
    """From voxel index (x, y, z) to millimetres; None without a translation, a size or a unit of length.

    Args:
        sizes: voxel size by axis.
        units: by axis.
        place: what :func:`origin` gave.
    """
    lengths = [micrometres(units.get(axis)) for axis in "xyz"]
    if not place or not all(axis in sizes and axis in place for axis in "xyz"):
        return None
    known = [length / 1000 for length in lengths if length is not None]
    if len(known) < 3:
        return None
    matrix = np.diag([*(sizes[axis] * length for axis, length in zip("xyz", known, strict=True)), 1.0])
    matrix[:3, 3] = [place[axis] * length for axis, length in zip("xyz", known, strict=True)]
    return matrix if np.isfinite(matrix).all() and np.linalg.det(matrix) else None


def translation_of(unit: str, style: Any, affine: Float[np.ndarray, "4 4"] | None) -> list[float] | None:
    """The translation z, y, x of labels in the unit of their spacing; None where the volume has none.

    An affine that turns or mirrors axes cannot be expressed, and gives none.

    Args:
        unit: "um", or "" where only the ratios of the spacing are known.
        style: of the file that the volume was read from.
        affine: of the volume.
    """
    if affine is not None:
        steps = affine[:3, :3]
        straight = np.allclose(steps, np.diag(np.diag(steps))) and (np.diag(steps) > 0).all()
        return [float(place) for place in affine[:3, 3][::-1] * 1000] if straight and unit else None
    if isinstance(style, Origin) and style.translation and not unit:
        return [style.translation.get(axis, 0.0) for axis in "zyx"]
    return None
