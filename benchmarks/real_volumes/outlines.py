"""Where outlines lie on the edges of the image, along z, y and x: those of the truth, and those that a network finds.

    python -m benchmarks.real_volumes outlines [--model FOLDER] [--json FILE]

The image falls from an object to the background over some voxels. For every object and axis this measures how far the
outline lies outside of the place where the image is halfway between the two (``half``), or at a quarter of the height
(``quarter``). The unit is the diameter of the volume's median object; negative values are inside. Tables show medians
over the objects. They tell by which rule people drew the outlines of a volume.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anystar_torch import AnyStar
from anystar_torch.network import loading
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.volumes import Image, Labels, Volume
from benchmarks.report import begin
from benchmarks.report import parser as common

HEIGHTS = {"half": 0.5, "quarter": 0.25}
SMALLEST = 200  # voxels; smaller objects have no plateau
CLEAR = 2  # voxels beyond an outline that must be background: another object lifts the edge
_BACKGROUND = 30  # percentile of the image outside of objects
_TOP = 75  # percentile of the image along a line through an object

Line = NDArray[np.float32]


def _line(array: NDArray[Any], centre: list[int], axis: int, width: int = 0) -> NDArray[Any]:
    """The values on a line through ``centre``; above 0, the mean over ``width`` neighbours to each side."""
    place = [slice(max(c - width, 0), c + width + 1) for c in centre]
    place[axis] = slice(None)
    others = tuple(other for other in range(3) if other != axis)
    return array[tuple(place)].mean(others) if width else array[tuple(place)].reshape(-1)


def _fall(line: Line, height: float) -> float:
    """Index, between samples, where a line first falls below ``height``; NaN where it never does."""
    below = np.flatnonzero(line < height)
    if len(below) == 0 or below[0] == 0:
        return float("nan")
    at = int(below[0])
    return at - 1 + float((line[at - 1] - height) / (line[at - 1] - line[at]))


def _at_one_end(
    image: Line, inside: NDArray[np.bool_], free: NDArray[np.bool_], base: float, share: float
) -> list[float]:
    """Distance, in voxels, from the edge in the image to the outline on a line; nothing where there is no such edge.

    Args:
        image: values on the line, from the centre of the object outwards.
        inside: whether a voxel is the object's.
        free: whether a voxel is background.
        base: intensity of the background.
        share: height of the edge in the image, as a share of the object's height above the background.
    """
    last = int(np.argmin(inside)) if not inside.all() else len(inside)
    if last + CLEAR > len(inside) or not free[last : last + CLEAR].all():
        return []
    height = base + share * (float(np.percentile(image[:last], _TOP)) - base)
    fall = _fall(image, height)
    return [] if np.isnan(fall) else [last - 0.5 - fall]


def beyond(image: Image, labels: Labels, share: float) -> NDArray[np.float64]:
    """Distance of the outlines outside of the edges in the image, voxels, ``[N, 3]`` along z, y, x.

    Args:
        image: ``[D, H, W]``; objects are brighter than the background.
        labels: ``[D, H, W]``, 0 = background.
        share: height of the edge that is meant: 0.5 for halfway between object and background.

    Returns:
        One row per object of at least 200 voxels whose centre is inside of it. NaN where a face of the volume or
        another object is within two voxels at both ends, or where the image does not fall so far.
    """
    base = float(np.percentile(image[labels == 0], _BACKGROUND))
    rows = []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None or (own := labels[box] == label).sum() < SMALLEST:
            continue
        centre = [round(c) + side.start for c, side in zip(ndimage.center_of_mass(own), box, strict=True)]
        if labels[tuple(centre)] != label:
            continue
        row = []
        for axis in range(3):
            values, numbers = _line(image, centre, axis, 1), _line(labels, centre, axis)
            ends = [slice(centre[axis], None), slice(centre[axis], None, -1)]
            both = (_at_one_end(values[e], numbers[e] == label, numbers[e] == 0, base, share) for e in ends)
            found = [distance for end in both for distance in end]
            row.append(float(np.mean(found)) if found else float("nan"))
        rows.append(row)
    return np.array(rows).reshape(-1, 3)


def row(volume: Volume, labels: Labels) -> dict[str, Any]:
    """Medians of a volume, in diameters of its median object."""
    step = np.array(volume.spacing) / min(volume.spacing) / volume.diameter
    cells: dict[str, Any] = {"name": volume.name}
    for name, share in HEIGHTS.items():
        distances = beyond(volume.image, labels, share)
        cells["objects"] = len(distances)
        for axis, values, factor in zip("zyx", distances.T, step, strict=True):
            known = values[~np.isnan(values)]
            cells[f"{name}, {axis}"] = round(float(np.median(known) * factor), 2) if len(known) else None
    return cells


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__)
    made.add_argument("--model", help="model or run folder; default: the shipped weights")
    made.add_argument("--data", type=Path, default=real.DATA)
    made.add_argument("--truth", action="store_true", help="the truth alone, without a prediction")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure the outlines of the truth and of a network."""
    volumes = real.read(options.data)
    report = begin(options, weights=options.model or loading.SHIPPED)
    report.table("outlines of the truth", [row(volume, volume.truth) for volume in volumes])
    if options.truth:
        return
    model, found = AnyStar.from_pretrained(options.model), []
    for volume in volumes:
        objects = model.predict(
            volume.image, spacing=volume.spacing, diameter=volume.diameter, progress=False
        )
        found.append(row(volume, objects.labels))
    report.table("outlines that the network finds, size given", found)
