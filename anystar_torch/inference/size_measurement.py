"""What the network finds in a box of a volume at one scale, as evidence of the object size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from scipy import ndimage

from anystar_torch.arrays import LazyVoxels, Triple
from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import Candidates, suppress
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tiles import padded

Place = tuple[float, float, float]
"""A place in a volume, (z, y, x) from 0 to 1."""

_MAP = 40  # voxels per axis of the map on which the most textured place is chosen
_ENOUGH = 2.5  # effective number of objects from which the median of a scale is used
_THICK = 0.4  # median diameters that a volume counts as thick, at least
_SCORE_POWER = 4  # of the weight of an object: those with a high score have the more reliable size


@dataclass(frozen=True)
class Measurement:
    """The objects that the network finds at one scale.

    Attributes:
        diameter: assumed diameter, in voxels of the input's finest axis.
        sizes: predicted diameters over the assumed one.
        scores: scores of the objects.
        covered: share of the examined box that they fill.
        places: their centres, (z, y, x) from 0 to 1 in the volume.
        voxels: voxels that the network processed.
        inside: shares of the predicted objects that lie inside of the volume; the rest is beyond its faces.
    """

    diameter: float
    sizes: Float64[np.ndarray, " n"]
    scores: Float64[np.ndarray, " n"]
    covered: float
    places: Float64[np.ndarray, "n 3"]
    voxels: float | int = 0
    inside: Float64[np.ndarray, " n"] | float = 1.0

    @cached_property
    def weights(self) -> Float64[np.ndarray, " n"]:
        """Weights of the objects in the median: their scores, and how much of them the volume shows."""
        return self.scores**_SCORE_POWER * self.inside

    @cached_property
    def number(self) -> float:
        """Effective number of objects: those with a low score count less."""
        return float(self.weights.sum() ** 2 / max(float((self.weights**2).sum()), 1e-30))

    @property
    def enough(self) -> bool:
        """Whether there are so many objects that their median is used."""
        return self.number >= _ENOUGH

    @cached_property
    def predicted(self) -> float:
        """Weighted median of the predicted diameters, in voxels of the input's finest axis. NaN without objects."""
        if not self.weights.sum() > 0:
            return math.nan
        return self.diameter * weighted_median(self.sizes, self.weights)

    @property
    def mismatch(self) -> float:
        """Difference between predicted and assumed diameter, of their logarithms. NaN without objects."""
        return abs(math.log(self.predicted / self.diameter))

    def busiest_place(self, extent: Sequence[float]) -> Place:
        """Centre of the object around which a box holds the objects with the largest sum of weights.

        Args:
            extent: size of the box over that of the volume, (z, y, x).
        """
        near = np.abs(self.places[:, None] - self.places) <= np.array(extent) / 2
        z, y, x = self.places[int((near.all(axis=2) @ self.weights).argmax())].tolist()
        return z, y, x


def measure_candidates(
    found: Candidates,
    start: Triple,
    stop: Triple,
    target: float,
    nms_thresh: float,
    voxels: float | int = 0,
    beyond: tuple[Triple, Triple] = ((0, 0, 0), (0, 0, 0)),
) -> Measurement:
    """The sizes of the objects in a box. Objects that the box cuts, but not the volume, are left out.

    An object counts as far as the faces of the image, as its label does. Otherwise objects in a thin volume would
    appear as thick as they are wide. What a face cuts has the smaller weight, as it shows only a part of its size.
    A volume of one slice or a few counts as 0.4 median diameters thick: the diameter of the ball with the volume of a
    thin disc says nothing of its width, and the disc would be shown much too large.

    Args:
        found: candidates of the box.
        start: first voxel of the box.
        stop: voxel after the last one of the box.
        target: diameter that the network was trained on, in network voxels.
        nms_thresh: overlap threshold of the suppression.
        voxels: voxels that the network processed.
        beyond: voxels of the input by which the image goes on before and after the volume. Objects there count as
            far as they are predicted, and only with the weight of what the volume shows.
    """
    kept = suppress(found, nms_thresh)
    points, shape = found.points[kept].astype(np.float64), np.array(found.scaling.shape)
    predicted = found.distances[kept].astype(np.float64)
    extent, ratio, least = found.scaling.shape, found.scaling.ratio, _THICK * target
    first = [-n / r for n, r in zip(beyond[0], ratio, strict=True)]
    end = [n + more / r for n, more, r in zip(extent, beyond[1], ratio, strict=True)]
    distances = np.minimum(predicted, distances_to_faces(points, first, end, found.rays, least))
    shown = np.minimum(distances, distances_to_faces(points, (0, 0, 0), extent, found.rays, least))
    volumes, shown_volumes, whole_volumes = (
        found.rays.volume(torch.from_numpy(some)).clamp_min(0).numpy()
        for some in (distances, shown, predicted)
    )
    sizes = equivalent_diameter(volumes)
    low = points - sizes[:, None] / 2 < np.where(np.array(start) > 0, start, -np.inf)
    high = points + sizes[:, None] / 2 > np.where(np.array(stop) < shape, stop, np.inf)
    whole = ~(low | high).any(axis=1) & (volumes > 0)
    examined = math.prod(int(min(b, n) - a) for a, b, n in zip(start, stop, shape, strict=True))
    return Measurement(
        found.diameter,
        sizes[whole] / target,
        found.scores[kept][whole].astype(np.float64),
        float(shown_volumes[whole].sum() / examined),
        (points[whole] + 0.5) / shape,
        voxels,
        np.minimum(shown_volumes[whole] / whole_volumes[whole], 1.0),
    )


def distances_to_faces(
    points: Float64[np.ndarray, "n 3"],
    start: Sequence[float | int],
    stop: Sequence[float | int],
    rays: Rays,
    least: float = 0.0,
) -> Float64[np.ndarray, "n r"]:
    """Distances along each ray to the faces of a volume, which are moved apart where it is thin.

    Args:
        points: (z, y, x) in voxels, inside the volume.
        start: its first voxel, (z, y, x).
        stop: the voxel after its last one.
        rays: the directions, of length 1.
        least: distance of opposite faces, at least, in voxels.
    """
    directions = rays.vertices.cpu().numpy().astype(np.float64)
    nearest = np.full((len(points), len(directions)), np.inf)
    for axis, (first, end) in enumerate(zip(start, stop, strict=True)):
        along = directions[:, axis]
        away = np.where(along > 0, end - 0.5 - points[:, axis, None], points[:, axis, None] + 0.5 - first)
        away += max(least - (end - first), 0) / 2
        nearest = np.minimum(nearest, away / np.maximum(np.abs(along), 1e-12))
    return nearest


def weighted_median(values: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]) -> float:
    """The value below which half of the weight lies.

    Args:
        values: at least one value.
        weights: their weights, with a positive sum.
    """
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def most_textured_place(
    voxels: Shaped[np.ndarray, "d h w"] | LazyVoxels, intensities: IntensityRange
) -> Place:
    """The place around which grey values vary most, on a coarse map of the volume.

    Args:
        voxels: the volume.
        intensities: its intensity range.
    """
    d, h, w = voxels.shape
    shape = min(d, _MAP), min(h, _MAP), min(w, _MAP)
    resampled = ResampledVolume(voxels, Scaling((d, h, w), shape), intensities)
    coarse = resampled.box((0, 0, 0), shape)[0, 0].clamp(0, 1).numpy()
    mean, square = (ndimage.uniform_filter(x, 5, mode="nearest") for x in (coarse, coarse * coarse))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    texture = ndimage.gaussian_filter(deviation, [s / 6 for s in shape], mode="constant")
    z, y, x = np.unravel_index(int(texture.argmax()), texture.shape)
    return (z + 0.5) / shape[0], (y + 0.5) / shape[1], (x + 0.5) / shape[2]


def box_size(shape: Triple, divisor: Triple, max_voxels: float | int) -> Triple:
    """Size of the largest box that the network takes: the whole volume, or shortened along its longest axes.

    Args:
        shape: shape of the resampled volume, (z, y, x).
        divisor: sizes of the box are multiples of it.
        max_voxels: voxels of the box, at most. A box of one divisor is not shortened.
    """
    size = list(padded(shape, divisor))
    while math.prod(size) > max_voxels:
        axis = max((a for a in range(3) if size[a] > divisor[a]), key=lambda a: size[a], default=None)
        if axis is None:
            break
        size[axis] -= divisor[axis]
    z, y, x = size
    return z, y, x


def box_around(place: Sequence[float], shape: Triple, size: Triple) -> tuple[Triple, Triple]:
    """Start and stop of a box around a place of a resampled volume, moved into the volume.

    Args:
        place: (z, y, x) from 0 to 1.
        shape: shape of the resampled volume, (z, y, x).
        size: size of the box.
    """
    start = [
        min(max(round(p * s - n / 2), 0), max(s - n, 0)) for p, s, n in zip(place, shape, size, strict=True)
    ]
    stop = [a + n for a, n in zip(start, size, strict=True)]
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])
