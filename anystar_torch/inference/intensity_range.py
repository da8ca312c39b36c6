"""The two grey values of a volume that are mapped to 0 and 1, and the map itself.

Quantiles are exact for integers of up to 16 bits and for volumes of up to 2^24 voxels. In larger volumes of other
types, 2^24 voxels are sampled at random places, the same ones in every run.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Shaped
from torch import Tensor

from anystar_torch.network.normalisation import NORMALISATIONS

SAMPLED = 1 << 24
"""Voxels of which quantiles are computed, where no histogram is."""
_COUNTED = 1 << 22  # voxels counted at a time: as indices they take eight times the memory
_PIECE = 1 << 20  # voxels sampled at a time: their indices take more memory than they do


@dataclass(frozen=True)
class IntensityRange:
    """The grey values that are mapped to 0 and 1.

    Attributes:
        low: grey value that is mapped to 0.
        high: grey value that is mapped to 1.
        clip: whether values outside of the range are set to 0 and 1.
    """

    low: float
    high: float
    clip: bool

    @property
    def constant(self) -> bool:
        """Whether the range is empty: the volume has one value only."""
        return self.high <= self.low

    def normalise(self, image: Float32[Tensor, "..."]) -> Float32[Tensor, "..."]:
        """The normalised image, in memory of its own. NaN becomes 0, infinities become the ends of the range.

        Args:
            image: grey values, of any shape.
        """
        image = torch.nan_to_num(image, nan=self.low, posinf=self.high, neginf=self.low)
        image.sub_(self.low).div_(max(self.high - self.low, 1e-20))
        return image.clamp_(0, 1) if self.clip else image


def intensity_range(
    volume: Shaped[np.ndarray, "..."], normalisation: str, *, sampled: int = SAMPLED
) -> IntensityRange:
    """The intensity range of a volume under a named normalisation.

    Where both quantiles are equal, minimum and maximum are taken: the rare values are then the objects.

    Args:
        volume: real numbers, at least one-dimensional.
        normalisation: a name of :data:`~anystar_torch.network.normalisation.NORMALISATIONS`.
        sampled: number of voxels that quantiles are computed of, for types other than integers of up to 16 bits.

    Raises:
        ValueError: the name is unknown, the volume has no finite value, or its values span more
            than float64 holds.
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}")
    if has_histogram(volume.dtype):
        values, counts = histogram(volume)
    else:
        values, counts = _finite_values(volume, sampled), None
    return range_of_values(values, counts, normalisation)


def range_of_values(
    values: Shaped[np.ndarray, " n"], counts: Int64[np.ndarray, " n"] | None, normalisation: str
) -> IntensityRange:
    """The intensity range of a volume with these values.

    Args:
        values: finite, ascending.
        counts: how often each value occurs; None where each stands for itself.
        normalisation: a name of :data:`~anystar_torch.network.normalisation.NORMALISATIONS`.

    Raises:
        ValueError: there are no values, or they span more than float64 holds.
    """
    if not values.size:
        raise ValueError("the volume holds no finite value: all voxels are NaN or infinite")
    chosen = NORMALISATIONS[normalisation]
    low, high = _quantile(values, counts, chosen.low), _quantile(values, counts, chosen.high)
    if high <= low:
        low, high = float(values[0]), float(values[-1])
    if not math.isfinite(high - low):
        raise ValueError(
            f"the volume's values reach from {values[0]:.3g} to {values[-1]:.3g}, further than float64; divide them"
        )
    return IntensityRange(low, high, chosen.clip)


def has_histogram(dtype: np.dtype[Any]) -> bool:
    """Whether every value of a number type is counted: for booleans and integers of up to 16 bits.

    Args:
        dtype: number type of a volume.
    """
    return dtype.kind == "b" or dtype in (np.uint8, np.uint16, np.int8, np.int16)


def histogram(volume: Shaped[np.ndarray, "..."]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The values that occur, ascending, and how often. Slab by slab, so that the volume is not copied.

    Args:
        volume: of a type that :func:`has_histogram`, at least one-dimensional.
    """
    offset = int(np.iinfo(volume.dtype).min) if volume.dtype.kind == "i" else 0
    counts = np.zeros(1 << (8 * volume.dtype.itemsize), np.int64)
    for slab in volume:
        rows = slab.reshape(-1)
        for start in range(0, rows.size, _COUNTED):
            part = rows[start : start + _COUNTED].astype(np.int64) - offset
            counts += np.bincount(part, minlength=len(counts))
    values = np.flatnonzero(counts)
    return values + offset, counts[values]


def _finite_values(volume: Shaped[np.ndarray, "..."], sampled: int) -> Float64[np.ndarray, " n"]:
    """The finite values, ascending: all of them, or ``sampled`` random ones with minimum and maximum."""
    if volume.size <= sampled:
        values = np.asarray(volume).reshape(-1)
        return np.sort(values[np.isfinite(values)]).astype(np.float64)
    picked = _random_voxels(volume, sampled)
    finite = (slab[np.isfinite(slab)] for slab in volume)
    ends = [value for slab in finite if slab.size for value in (slab.min(), slab.max())]
    extremes = [min(ends), max(ends)] if ends else []
    values = np.concatenate([picked[np.isfinite(picked)], extremes]).astype(np.float64)
    values.sort()
    return values


def _random_voxels(volume: Shaped[np.ndarray, "..."], count: int) -> Shaped[np.ndarray, " {count}"]:
    """``count`` voxels at random places, the same ones in every run."""
    places = random_places(volume.size, count)
    return np.concatenate([volume[np.unravel_index(part, volume.shape)] for part in places])


def random_places(size: int, count: int) -> Iterator[Int64[np.ndarray, " _"]]:
    """``count`` random indices below ``size``, the same ones in every run, some at a time.

    Args:
        size: number of voxels of a volume.
        count: number of indices.
    """
    random = np.random.default_rng(0)
    for start in range(0, count, _PIECE):
        yield random.integers(0, size, min(_PIECE, count - start))


def _quantile(
    values: Shaped[np.ndarray, " n"], counts: Int64[np.ndarray, " n"] | None, quantile: float
) -> float:
    """A quantile, linear between order statistics, as ``numpy.quantile`` computes it.

    Args:
        values: ascending.
        counts: how often each value occurs; None where each stands for itself.
        quantile: in [0, 1].
    """
    if counts is None:
        position = quantile * (values.size - 1)
        below = int(position)
        pair = values[[below, min(below + 1, values.size - 1)]]
    else:
        last = np.cumsum(counts)
        position = quantile * (int(last[-1]) - 1)
        below = int(position)
        pair = values[np.searchsorted(last, [below, min(below + 1, int(last[-1]) - 1)], side="right")]
    return float(pair[0] + (position - below) * (float(pair[1]) - float(pair[0])))
