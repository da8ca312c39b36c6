"""Grey values to about [0, 1], by a named choice that travels with the network.

- ``percentile``: the 1 % and 99.8 % quantiles go to 0 and 1, nothing is clipped (StarDist's habit);
- ``minmax``: minimum and maximum go to 0 and 1;
- ``anystar``: clipped at the 99.9 % quantile, then minimum and maximum to 0 and 1. AnyStar's inference also clips at 0,
  which would erase what is negative (CT); that is left out here;
- ``clipped``: the 0.1 % and 99.9 % quantiles go to 0 and 1, and what lies outside is clipped: a negative is normalised
  to the negative of what its positive is.

Quantiles are exact for integers up to 16 bits and for volumes up to 2^24 voxels; above, they are those of
2^24 voxels picked at random, always the same ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.network.weights import NORMALISATIONS

_EXACT = 1 << 24


@dataclass(frozen=True)
class Method:
    """A named normalisation.

    Attributes:
        low: the quantile that becomes 0.
        high: the quantile that becomes 1.
        clip: whether what lies outside ends at 0 and 1.
        words: the same for a reader.
    """

    low: float
    high: float
    clip: bool
    words: str


METHODS = {
    "percentile": Method(
        0.01, 0.998, False, "the 1 % and 99.8 % quantiles go to 0 and 1, nothing is clipped"
    ),
    "minmax": Method(0.0, 1.0, True, "minimum and maximum go to 0 and 1"),
    "anystar": Method(
        0.0, 0.999, True, "minimum and 99.9 % quantile go to 0 and 1, what is above is clipped"
    ),
    "clipped": Method(
        0.001, 0.999, True, "the 0.1 % and 99.9 % quantiles go to 0 and 1, the rest is clipped"
    ),
}
"""By name; the same names as :data:`~anystar_torch.network.weights.NORMALISATIONS`."""


@dataclass(frozen=True)
class Window:
    """The grey values that become 0 and 1.

    Attributes:
        low: becomes 0.
        high: becomes 1.
        clip: whether values outside end at 0 and 1.
    """

    low: float
    high: float
    clip: bool

    def __call__(self, image: Tensor) -> Tensor:
        """Float32 of any shape, normalised; NaN becomes 0, infinities the ends of the window."""
        image = torch.nan_to_num(image, nan=self.low, posinf=self.high, neginf=self.low)
        image.sub_(self.low).div_(max(self.high - self.low, 1e-20))
        return image.clamp_(0, 1) if self.clip else image


def window(volume: NDArray[Any], method: str) -> Window:
    """The window of ``volume`` (any shape and real type) for ``method``.

    Raises:
        ValueError: an unknown method, or a volume without a single finite value.
    """
    if method not in NORMALISATIONS:
        raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {method!r}")
    if volume.dtype.kind == "b" or volume.dtype in (np.uint8, np.uint16, np.int8, np.int16):
        values, counts = _histogram(volume)
    else:
        values, counts = _sample(volume), None
    if not values.size:
        raise ValueError("the volume holds no finite value (all NaN or infinite)")
    chosen = METHODS[method]
    low, high = _quantile(values, counts, chosen.low), _quantile(values, counts, chosen.high)
    if high <= low:  # nearly constant: the rare values are the content
        low, high = float(values[0]), float(values[-1])
    return Window(low, high, chosen.clip)


def _histogram(volume: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values that occur, ascending, and how often; slab by slab: no copy of the volume is made."""
    offset = int(np.iinfo(volume.dtype).min) if volume.dtype.kind == "i" else 0
    counts = np.zeros(1 << (8 * volume.dtype.itemsize), np.int64)
    for slab in volume:
        counts += np.bincount((slab.astype(np.int64) - offset).reshape(-1), minlength=len(counts))
    values = np.flatnonzero(counts)
    return values + offset, counts[values]


def _sample(volume: NDArray[Any]) -> NDArray[Any]:
    """The finite values, ascending: all of them, or 2^24 at fixed random places and the extremes."""
    if volume.size <= _EXACT:
        values = np.asarray(volume).reshape(-1)
        return np.sort(values[np.isfinite(values)]).astype(np.float64)
    picked = _picked(volume)
    finite = (slab[np.isfinite(slab)] for slab in volume)
    ends = [value for slab in finite if slab.size for value in (slab.min(), slab.max())]
    extremes = [min(ends), max(ends)] if ends else []
    values = np.concatenate([picked[np.isfinite(picked)], extremes]).astype(np.float64)
    values.sort()
    return values


def _picked(volume: NDArray[Any]) -> NDArray[Any]:
    """2^24 voxels at random places, always the same; piece by piece, as places take more memory than voxels."""
    random = np.random.default_rng(0)
    picked = np.empty(_EXACT, volume.dtype)
    for start in range(0, _EXACT, 1 << 20):
        part = picked[start : start + (1 << 20)]
        part[...] = volume[np.unravel_index(random.integers(0, volume.size, len(part)), volume.shape)]
    return picked


def _quantile(values: NDArray[Any], counts: NDArray[np.int64] | None, q: float) -> float:
    """Linear between order statistics, as numpy.quantile; ``values`` ascend, ``counts`` is their number."""
    if counts is None:
        position = q * (values.size - 1)
        below = int(position)
        pair = values[[below, min(below + 1, values.size - 1)]]
    else:
        last = np.cumsum(counts)
        position = q * (int(last[-1]) - 1)
        below = int(position)
        pair = values[np.searchsorted(last, [below, min(below + 1, int(last[-1]) - 1)], side="right")]
    return float(pair[0] + (position - below) * (float(pair[1]) - float(pair[0])))
