"""Estimate of the object size: the network is applied at several scales, and what it finds votes for a size.

The network knows objects of one size. It is applied to a part of the volume at a series of scales, each of which
assumes a diameter. At every scale it predicts how large the objects that it finds are. If the assumed diameter is too
small, they appear larger than expected; if it is too large, smaller. At the right scale the predicted size is the
assumed one.

An object that the network knows is found at several scales, and its predicted sizes agree. What it mistakes for an
object (a fragment, a cluster, noise) has about the expected size at every scale, so its votes scatter.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from scipy import ndimage

from anystar_torch.arrays import LazyVoxels, Triple
from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.inference.candidates import Candidates, merge, suppress
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import ObjectSize, SizeEstimate
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile, padded
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import out_of_memory, release
from anystar_torch.system.progress import Tick

STEP = 2**0.5
"""Ratio of the diameters that neighbouring scales assume."""
MIN_DIAMETER = 4.0
"""Voxels of the finest axis; objects below have no visible shape."""
_MAX_THRESHOLD = 0.35  # candidates count from this score on, or from the model's threshold if it is lower
_MAX_CANDIDATES = 5_000  # of a scale: the best are enough to measure it, however noisy the volume is
_MAX_VOXELS = 96**3  # that the network processes at a scale
_MIN_SUPPORT = 0.6  # share of the votes below which an estimate is called uncertain
_MAP = 40  # voxels per axis of the map on which the part of the volume is chosen
_BIN = 0.02  # distance of the diameters at which votes are counted, in the logarithm
_BANDWIDTH = 0.15  # standard deviation of a vote, in the logarithm of the diameter
_AGREEMENT = math.log(1.5)  # sizes agree up to this difference of their logarithms
_TRUST = 0.35  # deviation from the assumed size, in the logarithm, up to which the network measures well
_CROWD = 4.0  # objects of a scale at which its votes count half of those of a scale with many


@dataclass(frozen=True)
class Measurement:
    """The objects that the network finds at one scale.

    Attributes:
        diameter: assumed diameter, in voxels of the input's finest axis.
        sizes: predicted diameters over the assumed one.
        scores: scores of the objects.
        covered: share of the examined box that they fill.
    """

    diameter: float
    sizes: Float64[np.ndarray, " n"]
    scores: Float64[np.ndarray, " n"]
    covered: float


Measure = Callable[[float], Measurement]
"""Applies the network at the scale of an assumed diameter."""


@dataclass(frozen=True)
class SizeEstimator:
    """Estimates the diameter of the median object of a volume.

    Attributes:
        tile_network: the network. Test-time augmentation is not used.
        config: its configuration.
        max_voxels: voxels that the network can process at once.
    """

    tile_network: TileNetwork
    config: ModelConfig
    max_voxels: float | int

    def estimate(self, volume: InputVolume, tick: Tick) -> ObjectSize:
        """The size of the objects; the one that the network was trained on if it cannot be estimated.

        Args:
            volume: the volume.
            tick: receives the number of scales that are done, and that of all scales.
        """
        median = self.config.diameter_band[1]
        if not self.config.sizes_known:
            message = "no diameter was given, and the object sizes of the model are unknown: the scale is not changed"
            return ObjectSize(median, warnings=(SizeWarning(message, ("diameter",)),))
        if volume.intensity_range.constant:
            return ObjectSize(median)
        diameters = assumed_diameters(volume)
        found = self._vote(volume, diameters, min(_MAX_VOXELS, self.max_voxels), tick)
        if found is None:
            message = f"no object was found at any scale; a diameter of {median:g} voxels is assumed"
            return ObjectSize(median, warnings=(SizeWarning(message, ("diameter",)),))
        if found.support < _MIN_SUPPORT:
            message = f"the estimated diameter of {found.diameter:.3g} voxels is uncertain: check the result"
            return ObjectSize(found.diameter, found, (SizeWarning(message, ("diameter",)),))
        return ObjectSize(found.diameter, found)

    def _vote(
        self, volume: InputVolume, diameters: Sequence[float], max_voxels: float | int, tick: Tick
    ) -> SizeEstimate | None:
        """The estimate from a series of diameters; from a smaller box if the memory of the device is full."""
        measure, found = self._measurement(volume, max_voxels), []
        try:
            for done, diameter in enumerate(diameters):
                tick(done, len(diameters) + 1)
                found.append(measure(diameter))
            return agreed_size(found, measure)
        except RuntimeError as error:
            max_voxels = max_voxels / 2
            if not out_of_memory(error) or max_voxels < math.prod(self.tile_network.network.divisor):
                raise
        release(self.tile_network.device)  # outside of the handler: its traceback holds the tensors
        return self._vote(volume, diameters, max_voxels, tick)

    def _measurement(self, volume: InputVolume, max_voxels: float | int) -> Measure:
        """The function that applies the network to the most textured part of the volume."""
        tile_network = replace(self.tile_network, tta=False)
        network, median = tile_network.network, self.config.diameter_band[1]
        place = most_textured_place(volume.voxels, volume.intensity_range)
        thresh = min(self.config.prob_thresh, _MAX_THRESHOLD)

        def measure(diameter: float) -> Measurement:
            scaling = Scaling.of(volume.shape, volume.spacing, diameter, median, network.rays)
            resampled = ResampledVolume(volume.voxels, scaling, volume.intensity_range)
            start, stop = box_around(place, scaling.shape, network.divisor, max_voxels)
            found = tile_network.candidates(
                resampled, [Tile(start, stop, start, stop)], thresh, peaks_only=True
            )
            candidates = merge(found, network.rays.to("cpu"), scaling, diameter, thresh)
            return measure_candidates(
                candidates.first(_MAX_CANDIDATES), start, stop, median, self.config.nms_thresh
            )

        return measure


def assumed_diameters(volume: InputVolume) -> list[float]:
    """Diameters to assume, in voxels of the finest axis, ascending: up to half of the longest side of the volume.

    Args:
        volume: the volume.
    """
    half = max(volume.longest_side / 2, MIN_DIAMETER)
    count = max(1, math.floor(math.log(half / MIN_DIAMETER, STEP)) + 1)
    return [MIN_DIAMETER * STEP**k for k in range(count)]


def most_textured_place(
    voxels: Shaped[np.ndarray, "d h w"] | LazyVoxels, intensities: IntensityRange
) -> tuple[float, float, float]:
    """The place around which grey values vary most, on a coarse map of the volume; (z, y, x) from 0 to 1.

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


def box_around(
    place: Sequence[float], shape: Triple, divisor: Triple, max_voxels: float | int = _MAX_VOXELS
) -> tuple[Triple, Triple]:
    """Start and stop of a box around a place of a resampled volume, of a size that the network takes.

    Args:
        place: (z, y, x) from 0 to 1.
        shape: shape of the resampled volume, (z, y, x).
        divisor: sizes of the box are multiples of it.
        max_voxels: voxels of the box, at most.
    """
    size = list(padded(shape, divisor))
    while math.prod(size) > max_voxels:
        axis = max((a for a in range(3) if size[a] > divisor[a]), key=lambda a: size[a], default=None)
        if axis is None:
            break
        size[axis] -= divisor[axis]
    start = [
        min(max(round(p * s - n / 2), 0), max(s - n, 0)) for p, s, n in zip(place, shape, size, strict=True)
    ]
    stop = [a + n for a, n in zip(start, size, strict=True)]
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def measure_candidates(
    found: Candidates, start: Triple, stop: Triple, target: float, nms_thresh: float
) -> Measurement:
    """The sizes of the objects in a box. Objects that the box cuts, but not the volume, are left out.

    Args:
        found: candidates of the box.
        start: first voxel of the box.
        stop: voxel after the last one of the box.
        target: diameter that the network was trained on, in network voxels.
        nms_thresh: overlap threshold of the suppression.
    """
    kept = suppress(found, nms_thresh)
    distances = torch.from_numpy(found.distances[kept].astype(np.float32))
    volumes = found.rays.volume(distances).clamp_min(0).numpy().astype(np.float64)
    sizes = equivalent_diameter(volumes)
    points, shape = found.points[kept], np.array(found.scaling.shape)
    low = points - sizes[:, None] / 2 < np.where(np.array(start) > 0, start, -np.inf)
    high = points + sizes[:, None] / 2 > np.where(np.array(stop) < shape, stop, np.inf)
    whole = ~(low | high).any(axis=1) & (volumes > 0)
    voxels = math.prod(int(min(b, n) - a) for a, b, n in zip(start, stop, shape, strict=True))
    return Measurement(
        found.diameter,
        sizes[whole] / target,
        found.scores[kept][whole].astype(np.float64),
        float(volumes[whole].sum() / voxels),
    )


def agreed_size(found: Sequence[Measurement], measure: Measure) -> SizeEstimate | None:
    """The size on which most of the objects agree; None if there are none.

    Every object votes for its predicted size, independent of the scale at which it was found.

    Args:
        found: measurements at a series of scales.
        measure: measures at one more scale, to refine the winning size.
    """
    sizes = np.concatenate([one.diameter * one.sizes for one in found] or [np.empty(0)])
    weights = np.concatenate([_vote_weights(one) for one in found] or [np.empty(0)])
    if not weights.sum() > 0:
        return None
    logs = np.log(sizes)
    axis = np.arange(logs.min(), logs.max() + _BIN, _BIN)
    votes = np.array([np.sum(weights * np.exp(-0.5 * ((logs - a) / _BANDWIDTH) ** 2)) for a in axis])
    winner = float(np.exp(axis[votes.argmax()]))
    best = measure(winner)
    if len(best.sizes) and best.scores.sum() > 0:
        refined = winner * _weighted_median(best.sizes, best.scores)
        winner = refined if abs(math.log(refined / winner)) < _AGREEMENT else winner
    near = np.abs(logs - math.log(winner)) < _AGREEMENT
    return SizeEstimate(winner, float(weights[near].sum() / weights.sum()), len(best.sizes), len(found))


def _vote_weights(one: Measurement) -> Float64[np.ndarray, " n"]:
    """The weight of each object's vote: its score, whether the network knows its size, and the share it fills.

    The share, and not the number, prevents that many fragments outvote the objects of which they are fragments. Scales
    with few objects count less, so that the outline of a whole (an embryo) does not outvote its nuclei. The high power
    of the score matters: an object's score is only slightly higher at its right scale than at the neighbouring ones.
    """
    known = np.exp(-0.5 * (np.log(np.maximum(one.sizes, 1e-3)) / _TRUST) ** 2)
    volumes = one.sizes**3
    share = volumes / max(float(volumes.sum()), 1e-9) * one.covered
    weights: Float64[np.ndarray, " n"] = one.scores**8 * known * share
    effective_number = weights.sum() ** 2 / max(float((weights**2).sum()), 1e-30)
    weights *= effective_number / (effective_number + _CROWD)
    return weights


def _weighted_median(values: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
