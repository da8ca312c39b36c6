"""The search for the object size over scales: from coarse to fine, until two scales agree.

A network knows objects of a range of sizes. Applied at a scale that assumes too large a diameter, it still finds
objects, down to the smallest that it was trained on, and predicts their size. The next scale is that of the predicted
size. Coarse scales have few voxels, so the search costs little more than the box that confirms the result.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from anystar_torch.inference.object_size import SizeEstimate
from anystar_torch.inference.size_measurement import Measurement
from anystar_torch.system.progress import Tick

Measure = Callable[[float, float | int, Sequence[Measurement]], Measurement]
"""Applies the network at the scale of an assumed diameter, to at most so many voxels, given earlier measurements."""

MIN_DIAMETER = 4.0
"""Voxels of the finest axis; objects below have no visible shape."""
_CONFIRMING = 1.5  # ratio of the scales of a size and of its confirmation
_APART = 1.4  # scales with a smaller ratio do not confirm each other
_AGREED = 0.26  # difference of the logarithms of two predicted sizes that agree
_MATCHED = 0.25  # difference of the logarithms of the predicted and the assumed size of a scale that fits
_SHARE = 0.25  # voxels of an estimate over those of the prediction
_REFINED = 0.1  # mismatch, as a difference of logarithms, from which one more scale is examined
_MAX_DOUBTED = 4  # scales with enough objects after which the search ends, although no two agree
_UNKNOWN = 3.0  # voxels of the box as long as no scale has enough objects, over those of the smallest box
_BIN = 0.02  # distance of the diameters at which votes are counted, in the logarithm
_BANDWIDTH = 0.15  # standard deviation of a vote, in the logarithm of the diameter
_NEAR = math.log(1.5)  # votes count for a size up to this difference of their logarithms
_TRUST = 0.35  # deviation from the assumed size, in the logarithm, up to which the network measures well
_CROWD = 4.0  # objects of a scale at which its votes count half of those of a scale with many


@dataclass
class ScaleSearch:
    """A search from the coarsest scale on.

    Attributes:
        measure: applies the network at a scale.
        cost: voxels that the network processes in the prediction of the volume, by the diameter of its objects.
        least: voxels of the smallest box; it is examined however small the volume is.
        most: voxels of the largest box.
        reach: size of the objects that the network was trained on, over that of the smallest ones it knows.
        found: the measurements so far.
    """

    measure: Measure
    cost: Callable[[float], float]
    least: float | int
    most: float | int
    reach: float = 2.0
    found: list[Measurement] = field(default_factory=list)

    def run(self, coarsest: float | int, tick: Tick) -> SizeEstimate | None:
        """The size on which two scales agree, or most objects of all scales; None if nothing is found.

        Where the box of the last scale has too few objects, and no work is left for a larger one, it is the size that
        the scale before predicts: it was the finest with enough objects.

        Args:
            coarsest: diameter that the first scale assumes, in voxels of the finest axis.
            tick: receives the number of scales that are done, and one more than it.
        """
        self.found.clear()
        diameter: float | None = max(float(coarsest), MIN_DIAMETER)
        while diameter is not None:
            tick(len(self.found), len(self.found) + 2)
            self.found.append(self.measure(diameter, self._allowed(diameter), self.found))
            pair = agreeing(self.found)
            if pair is not None:
                return self._refined(pair)
            known = [one for one in self.found if one.enough]
            if known and not self.found[-1].enough and self._left(known[-1].predicted) < self.least:
                return estimate(known[-1].predicted, self.found, len(known[-1].sizes), len(self.found))
            diameter = next_diameter(self.found, self.reach) if len(known) < _MAX_DOUBTED else None
        return voted(self.found)

    def _refined(self, pair: Sequence[Measurement]) -> SizeEstimate:
        """The size on which two scales agree, from a scale nearer to it if there is work left for one."""
        best = min(pair, key=lambda one: one.mismatch)
        left = self._left(best.predicted)
        if best.mismatch > _REFINED and left >= self.least:
            one = self.measure(best.predicted, min(left, self.most), self.found)
            self.found.append(one)
            if one.enough and one.mismatch < best.mismatch:
                pair, best = [*pair, one], one
        return estimate(best.predicted, pair, len(best.sizes), len(self.found))

    def _allowed(self, diameter: float) -> float | int:
        """Voxels of the box at a scale: those that are left for the most probable size, or for the scale's own."""
        if self.found and self.found[-1].enough:
            return min(max(self._left(self.found[-1].predicted), self.least), self.most)
        so_far = voted(self.found)
        left = self._left(diameter if so_far is None else so_far.diameter)
        return min(max(left, _UNKNOWN * self.least), self.most)

    def _left(self, diameter: float) -> float:
        """Voxels that an estimate may still process if objects have this diameter."""
        return _SHARE * self.cost(diameter) - sum(one.voxels for one in self.found)


def agreeing(found: Sequence[Measurement]) -> tuple[Measurement, Measurement] | None:
    """The last scale and an earlier one that predict the same size; None if there is no such scale.

    Args:
        found: measurements, in the order in which they were made.
    """
    last = found[-1]
    if not last.enough:
        return None
    for one in reversed(found[:-1]):
        apart = abs(math.log(one.diameter / last.diameter)) >= math.log(_APART)
        if not one.enough or not apart or min(one.mismatch, last.mismatch) > _MATCHED:
            continue
        if abs(math.log(one.predicted / last.predicted)) <= _AGREED:
            return one, last
    return None


def next_diameter(found: Sequence[Measurement], reach: float) -> float | None:
    """The diameter that the next scale assumes; None if no finer scale is left.

    Args:
        found: measurements, in the order in which they were made.
        reach: largest ratio of an assumed diameter and the next one.
    """
    last, finest = found[-1], min(one.diameter for one in found)
    if not last.enough and len(found) == 1:
        return reach * last.diameter  # an object that fills the volume; this scale has hardly any voxels
    if not last.enough:
        wanted = finest / reach
    elif last.predicted > last.diameter * _APART and not _examined(found, last.predicted):
        return last.predicted
    else:
        size = min(max(last.predicted, last.diameter / reach), last.diameter / _CONFIRMING)
        wanted = finest / _CONFIRMING if _examined(found, size) else size
    return wanted if wanted >= MIN_DIAMETER else None


def _examined(found: Sequence[Measurement], diameter: float) -> bool:
    """Whether a scale near that of a diameter was examined."""
    return any(abs(math.log(one.diameter / diameter)) < math.log(_APART) for one in found)


def voted(found: Sequence[Measurement]) -> SizeEstimate | None:
    """The size on which most of the objects agree; None if there are none.

    Every object votes for its predicted size, independent of the scale at which it was found. An object that the
    network knows is found at several scales with the same predicted size. What it mistakes for an object (a fragment,
    a cluster, noise) has about the expected size at every scale, so its votes scatter.

    Args:
        found: measurements at several scales.
    """
    logs, weights = _votes(found)
    if not weights.sum() > 0:
        return None
    axis = np.arange(logs.min(), logs.max() + _BIN, _BIN)
    votes = np.array([np.sum(weights * np.exp(-0.5 * ((logs - a) / _BANDWIDTH) ** 2)) for a in axis])
    winner = float(np.exp(axis[votes.argmax()]))
    measured = [one for one in found if len(one.sizes)]
    best = min(measured, key=lambda one: abs(math.log(one.diameter / winner)) + 1 / one.number)
    if abs(math.log(best.predicted / winner)) < _BANDWIDTH:
        winner = best.predicted
    return estimate(winner, found, len(best.sizes), len(found))


def estimate(diameter: float, found: Sequence[Measurement], objects: int, scales: int) -> SizeEstimate:
    """An estimate with the share of the votes that agree with it.

    Args:
        diameter: the estimated diameter.
        found: measurements whose objects vote.
        objects: number of objects that were measured at this size.
        scales: number of scales at which the network was applied.
    """
    logs, weights = _votes(found)
    near = np.abs(logs - math.log(diameter)) < _NEAR
    return SizeEstimate(diameter, float(weights[near].sum() / weights.sum()), objects, scales)


def _votes(found: Sequence[Measurement]) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The logarithms of the predicted diameters of all objects, and the weights of their votes."""
    sizes = np.concatenate([one.diameter * one.sizes for one in found] or [np.empty(0)])
    return np.log(sizes), np.concatenate([_vote_weights(one) for one in found] or [np.empty(0)])


def _vote_weights(one: Measurement) -> Float64[np.ndarray, " n"]:
    """The weight of each object's vote: its score, whether the network knows its size, and the share it fills.

    The share, and not the number, prevents that many fragments outvote the objects of which they are fragments. Scales
    with few objects count less, so that the outline of a whole (an embryo) does not outvote its nuclei. The high power
    of the score matters: an object's score is only slightly higher at its right scale than at the neighbouring ones.
    """
    known = np.exp(-0.5 * (np.log(np.maximum(one.sizes, 1e-3)) / _TRUST) ** 2)
    volumes = one.sizes**3
    share = volumes / max(float(volumes.sum()), 1e-9) * one.covered
    weights: Float64[np.ndarray, " n"] = one.scores**8 * one.inside * known * share
    effective_number = weights.sum() ** 2 / max(float((weights**2).sum()), 1e-30)
    weights *= effective_number / (effective_number + _CROWD)
    return weights
