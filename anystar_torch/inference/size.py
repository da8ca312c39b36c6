"""How large the objects of a volume are, when nobody says: the network is asked at several scales.

A network knows objects of one size. On a ladder of scales it is shown a part of the volume, and at each scale it says
how large what it finds is. Too much magnified, objects look larger than expected; too little, smaller; at the right
scale the size found is the size assumed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.instances import suppress
from anystar_torch.inference.normalise import Window
from anystar_torch.inference.scale import Scaling, Triple

STEP = 2**0.5  # of the ladder
UNSURE = 0.35  # scores from which candidates take part in the estimate, where the threshold is not lower
ENOUGH = 5_000  # candidates of a level, at most: the surest measure it, however noisy the volume
_SMALLEST = 4.0  # voxels of the finest axis: below, there is nothing to see of a shape
_VOXELS = 96**3  # that the network sees at a scale, at most
_MAP = 40  # voxels per axis of the map on which the part to look at is chosen


@dataclass(frozen=True)
class Level:
    """What the network finds where it assumes objects of one size.

    Attributes:
        diameter: the size assumed, in voxels of the input's finest axis.
        sizes: ``[n]`` diameters found, over the size assumed.
        scores: ``[n]`` their scores.
        covered: share of the part looked at that the objects fill.
    """

    diameter: float
    sizes: NDArray[np.float64]
    scores: NDArray[np.float64]
    covered: float


def ladder(shape: Sequence[int], spacing: Sequence[float | int]) -> list[float]:
    """Sizes to try, in voxels of the finest axis: from the smallest shape there is to half the longest side."""
    step = np.asarray(spacing, float) / min(spacing)
    longest = float((np.asarray(shape) * step).max())
    count = max(1, math.floor(math.log(max(longest / 2, _SMALLEST) / _SMALLEST, STEP)) + 1)
    return [_SMALLEST * STEP**k for k in range(count)]


def interesting(volume: NDArray[Any], grey: Window) -> tuple[float, float, float]:
    """The place (fractions of z, y, x) around which grey values vary most, on a coarse map of the volume."""
    shape = tuple(min(size, _MAP) for size in volume.shape)
    scaling = Scaling((volume.shape[0], volume.shape[1], volume.shape[2]), (shape[0], shape[1], shape[2]))
    coarse = (
        scaling.box(volume, (0, 0, 0), scaling.shape, grey, torch.device("cpu"))[0, 0].clamp(0, 1).numpy()
    )
    mean, square = (ndimage.uniform_filter(x, 5, mode="nearest") for x in (coarse, coarse * coarse))
    busy = ndimage.gaussian_filter(
        np.sqrt(np.maximum(square - mean * mean, 0)), [s / 6 for s in shape], mode="constant"
    )
    z, y, x = np.unravel_index(int(busy.argmax()), busy.shape)
    return (z + 0.5) / shape[0], (y + 0.5) / shape[1], (x + 0.5) / shape[2]


def part(shape: Triple, divisor: Triple, place: Sequence[float]) -> tuple[Triple, Triple]:
    """A box of at most 96^3 voxels around ``place`` in a resampled volume: (start, stop), sizes the network takes."""
    size = [-(-s // d) * d for s, d in zip(shape, divisor, strict=True)]
    while math.prod(size) > _VOXELS:
        axis = max((a for a in range(3) if size[a] > divisor[a]), key=lambda a: size[a], default=None)
        if axis is None:
            break
        size[axis] -= divisor[axis]
    start = [
        min(max(round(p * s - n / 2), 0), max(s - n, 0)) for p, s, n in zip(place, shape, size, strict=True)
    ]
    stop = [a + n for a, n in zip(start, size, strict=True)]
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def level(
    found: Candidates, start: Triple, stop: Triple, diameter: float, wanted: float, nms_thresh: float
) -> Level:
    """What candidates of a box say about sizes. Objects cut by the box, but not by the volume, are left out."""
    kept = suppress(found, nms_thresh)
    distances = torch.from_numpy(found.distances[kept].astype(np.float32))
    volumes = found.rays.volume(distances).clamp_min(0).numpy().astype(np.float64)
    sizes = np.cbrt(6 / np.pi * volumes)
    points, shape = found.points[kept], np.array(found.scaling.shape)
    near = points - sizes[:, None] / 2 < np.where(np.array(start) > 0, start, -np.inf)
    far = points + sizes[:, None] / 2 > np.where(np.array(stop) < shape, stop, np.inf)
    whole = ~(near | far).any(axis=1) & (volumes > 0)
    seen = math.prod(int(min(b, n) - a) for a, b, n in zip(start, stop, shape, strict=True))
    return Level(
        diameter,
        sizes[whole] / wanted,
        found.scores[kept][whole].astype(np.float64),
        volumes[whole].sum() / seen,
    )


Look = Callable[[float], Level]


@dataclass(frozen=True)
class Estimate:
    """A size, and how it was come by.

    Attributes:
        diameter: in voxels of the finest axis; None where nothing was found to measure.
        support: share of all votes that agree with it, 0 to 1.
        count: objects that were measured.
    """

    diameter: float | None
    support: float
    count: int


def estimate(levels: Sequence[Level], look: Look) -> Estimate:
    """The size that most of what was found agrees on.

    Every object votes for the size it was found to have, wherever on the ladder it was found. An object the network
    knows is found on several levels, and votes for one size from all of them; what it mistakes for an object (a
    fragment, a clump, noise) looks as large as it expects on every level, and so votes for another size on each.

    Args:
        levels: the ladder.
        look: makes another level; the winner is looked at once more, at its own scale.
    """
    sizes = np.concatenate([one.diameter * one.sizes for one in levels] or [np.empty(0)])
    weights = np.concatenate([_weights(one) for one in levels] or [np.empty(0)])
    if not weights.sum() > 0:
        return Estimate(None, 0.0, 0)
    logs = np.log(sizes)
    axis = np.arange(logs.min(), logs.max() + _GRAIN, _GRAIN)
    votes = np.array([np.sum(weights * np.exp(-0.5 * ((logs - a) / _WIDTH) ** 2)) for a in axis])
    winner = float(np.exp(axis[votes.argmax()]))
    best = look(winner)
    count = len(best.sizes)
    if count and best.scores.sum() > 0:
        refined = winner * _median(best.sizes, best.scores)
        winner = refined if abs(math.log(refined / winner)) < _FAR else winner
    near = np.abs(logs - math.log(winner)) < _FAR
    return Estimate(winner, float(weights[near].sum() / weights.sum()), count)


_GRAIN, _WIDTH, _FAR = 0.02, 0.15, math.log(1.5)
_TRUST = 0.35  # how far, in the logarithm, from the size it assumes the network's measure is to be trusted


def _weights(one: Level) -> NDArray[np.float64]:
    """What each object's vote counts: sure, of a size the network knows, and filling a share of the part seen.

    The share (not the number) keeps a crowd of fragments from outvoting the objects they are fragments of. The power of
    the score matters: an object at its right scale is seen a little more surely than on its neighbours.
    """
    known = np.exp(-0.5 * (np.log(np.maximum(one.sizes, 1e-3)) / _TRUST) ** 2)
    volumes = one.sizes**3
    share = volumes / max(float(volumes.sum()), 1e-9) * one.covered
    return one.scores**8 * known * share


def _median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
