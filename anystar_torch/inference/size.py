"""How large the objects of a volume are, when nobody says: the network is asked at several scales.

A network knows objects of one size. On a ladder of scales it is shown a part of the volume, and at each scale it says
how large what it finds is. Too much magnified, objects look larger than expected; too little, smaller; at the right
scale the size found is the size assumed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.inference.candidates import Candidates, merge
from anystar_torch.inference.instances import Instances, suppress
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.tile_network import Eye
from anystar_torch.inference.tiles import Tile
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import out_of_memory, release
from anystar_torch.system.progress import Tick

STEP = 2**0.5  # of the ladder
UNSURE = 0.35  # scores from which candidates count in the estimate, where the model's threshold is not lower
ENOUGH = 5_000  # candidates of a level, at most: the surest measure it, however noisy the volume
_SMALLEST = 4.0  # voxels of the finest axis: below, there is nothing to see of a shape
_VOXELS = 96**3  # that the network sees at a scale, at most
_SURE = 0.6  # share of the votes below which an estimate is called uncertain
_SHAPELESS = 3.0  # voxels of the finest axis
_FEW = 5  # objects say nothing of the median
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


def interesting(volume: NDArray[Any], grey: IntensityRange) -> tuple[float, float, float]:
    """The place (fractions of z, y, x) around which grey values vary most, on a coarse map of the volume."""
    d, h, w = volume.shape
    shape = min(d, _MAP), min(h, _MAP), min(w, _MAP)
    scaling = Scaling((d, h, w), shape)
    coarse = (
        scaling.box(volume, (0, 0, 0), scaling.shape, grey, torch.device("cpu"))[0, 0].clamp(0, 1).numpy()
    )
    mean, square = (ndimage.uniform_filter(x, 5, mode="nearest") for x in (coarse, coarse * coarse))
    busy = ndimage.gaussian_filter(
        np.sqrt(np.maximum(square - mean * mean, 0)), [s / 6 for s in shape], mode="constant"
    )
    z, y, x = np.unravel_index(int(busy.argmax()), busy.shape)
    return (z + 0.5) / shape[0], (y + 0.5) / shape[1], (x + 0.5) / shape[2]


def part(
    shape: Triple, divisor: Triple, place: Sequence[float], most: float | int = _VOXELS
) -> tuple[Triple, Triple]:
    """A box of at most ``most`` voxels around ``place`` in a resampled volume: (start, stop), fit for the network."""
    size = [-(-s // d) * d for s, d in zip(shape, divisor, strict=True)]
    while math.prod(size) > most:
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
    sizes = equivalent_diameter(volumes)
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
_CROWD = 4.0  # objects on one level at which its votes count half of what a crowd's do


def _weights(one: Level) -> NDArray[np.float64]:
    """What each object's vote counts: sure, of a size the network knows, filling a share of the part seen, one of many.

    The share (not the number) keeps a crowd of fragments from outvoting the objects they are fragments of; that levels
    with few objects count less keeps the outline of the whole (an embryo seen from far) from outvoting its nuclei. The
    power of the score matters: an object at its right scale is seen a little more surely than on its neighbours.
    """
    known = np.exp(-0.5 * (np.log(np.maximum(one.sizes, 1e-3)) / _TRUST) ** 2)
    volumes = one.sizes**3
    share = volumes / max(float(volumes.sum()), 1e-9) * one.covered
    weights: NDArray[np.float64] = one.scores**8 * known * share
    alike = weights.sum() ** 2 / max(
        float((weights**2).sum()), 1e-30
    )  # how many objects weigh as much as these do
    weights *= alike / (alike + _CROWD)
    return weights


def _median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


@dataclass(frozen=True)
class Question:
    """A volume whose objects have an unknown size.

    Attributes:
        volume: ``[D, H, W]``.
        spacing: its voxel size (z, y, x), of which only the ratios count.
        grey: how its grey values are normalised; not constant.
        most: voxels the network may be shown at once.
    """

    volume: NDArray[Any]
    spacing: Sequence[float | int]
    grey: IntensityRange
    most: float | int


def assumed(question: Question, eye: Eye, config: ModelConfig, tick: Tick) -> tuple[float, tuple[str, ...]]:
    """The size to predict with where none is given, in voxels of the finest axis; and what to say about it."""
    middle = config.diameter_band[1]
    if not config.sizes_known:
        return middle, ("no diameter given, and the model does not say what sizes it knows: none is assumed",)
    if question.grey.high <= question.grey.low:
        return middle, ("the volume is constant: it holds no objects",)
    sizes = ladder(question.volume.shape, question.spacing)
    found = _found(sizes, question, eye, config, tick)
    if found.diameter is None:
        return middle, (
            f"warning: no object was found at any scale; taken to be {middle:g} voxels wide: give --diameter",
        )
    said = (
        f"diameter estimated as {found.diameter:.3g} voxels: {found.count} objects measured at that scale, "
        f"{100 * found.support:.0f} % of what was found at {len(sizes)} scales agrees"
    )
    doubt = ("warning: the estimated diameter is uncertain: look at the result, or give --diameter",)
    return found.diameter, (said, *(doubt if found.support < _SURE else ()))


def _found(sizes: Sequence[float], question: Question, eye: Eye, config: ModelConfig, tick: Tick) -> Estimate:
    """The estimate on a ladder; of a smaller part of the volume where the device's memory is full."""
    look, levels = _looking(question, eye, config), []
    try:
        for done, diameter in enumerate(sizes):
            tick(done, len(sizes) + 1)
            levels.append(look(diameter))
        return estimate(levels, look)
    except RuntimeError as error:
        most = min(_VOXELS, question.most) / 2
        if not out_of_memory(error) or most < math.prod(eye.network.divisor):
            raise
    release(eye.device)  # outside of the handler: its traceback holds the tensors
    return _found(sizes, replace(question, most=most), eye, config, tick)


def _looking(question: Question, eye: Eye, config: ModelConfig) -> Look:
    """What is found in the busiest part of the volume where objects are assumed to have a size."""
    volume, network, middle = question.volume, eye.network, config.diameter_band[1]
    place = interesting(volume, question.grey)
    unsure = min(config.prob_thresh, UNSURE)

    def look(diameter: float) -> Level:
        scaling = Scaling.of(volume.shape, question.spacing, diameter, middle, network.rays)
        start, stop = part(scaling.shape, network.divisor, place, min(_VOXELS, question.most))
        tile = Tile(start, stop, start, stop)
        seen = eye.candidates(volume, scaling, question.grey, [tile], unsure, peaks_only=True)
        candidates = merge(seen, network.rays.to("cpu"), scaling, diameter, unsure).first(ENOUGH)
        return level(candidates, start, stop, diameter, middle, config.nms_thresh)

    return look


def doubts(source: Sequence[int], spacing: Sequence[float | int], size: float) -> tuple[str, ...]:
    """A warning where objects are so small or so large for the volume that the size given must be mistaken."""
    longest = max(n * step / min(spacing) for n, step in zip(source, spacing, strict=True))
    if size > longest:
        return (f"warning: objects of {size:.3g} voxels are larger than the volume ({longest:.3g} voxels)",)
    if size < _SHAPELESS:
        return (f"warning: objects of {size:.3g} voxels are too small to have a shape",)
    return ()


def surprise(found: Instances, scaling: Scaling, config: ModelConfig) -> str | None:
    """A warning where what was found is not of a size that the network knows, though it was scaled to be."""
    if len(found) < _FEW or not config.sizes_known:
        return None
    volumes = found.rays.volume(torch.from_numpy(found.distances)).clamp_min(0).numpy().astype(np.float64)
    middle = equivalent_diameter(float(np.median(volumes) / np.prod(scaling.ratio)))
    low, expected, high = config.diameter_band
    if low <= middle <= high:
        return None
    scale = found.diameter / expected
    return (
        f"warning: objects of {found.diameter:.3g} voxels were expected, those found measure {middle * scale:.3g}, "
        f"outside what the network knows ({low * scale:.3g} to {high * scale:.3g}): check --diameter and --spacing"
    )
