"""Sums over the voxels of every object, added up block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Shaped


@dataclass(frozen=True)
class ObjectSums:
    """Sums over the voxels of objects.

    Attributes:
        ids: of the objects, ascending.
        volume: number of voxels.
        measured: number of voxels with a finite intensity.
        intensity: sum of these intensities.
        touches_border: whether a voxel lies at the border of the volume.
    """

    ids: Int64[np.ndarray, " n"]
    volume: Int64[np.ndarray, " n"]
    measured: Int64[np.ndarray, " n"]
    intensity: Float64[np.ndarray, " n"]
    touches_border: Bool[np.ndarray, " n"]

    @classmethod
    def empty(cls, count: int) -> "ObjectSums":
        """Sums of the objects 1..N before any block was added; 25 bytes per object beside its id.

        Args:
            count: number of objects.
        """
        zeros = np.zeros(count, np.int64)
        return cls(
            np.arange(1, count + 1), zeros, zeros.copy(), np.zeros(count), np.zeros(count, dtype=np.bool_)
        )

    def add(self, block: "ObjectSums") -> None:
        """Add the sums of a block to those of the objects 1..N.

        Sums of whole numbers do not depend on the order of the blocks; sums of fractions do, to rounding.

        Args:
            block: sums of any of these objects.
        """
        rows = block.ids - 1
        self.volume[rows] += block.volume
        self.measured[rows] += block.measured
        self.intensity[rows] += block.intensity
        self.touches_border[rows] |= block.touches_border


def block_sums(
    labels: Integer[np.ndarray, "d h w"],
    image: Shaped[np.ndarray, "d h w"],
    begin: Sequence[int] = (0, 0, 0),
    shape: Sequence[int] | None = None,
) -> ObjectSums:
    """The sums of the objects in a block of a volume.

    Args:
        labels: of the block, 0 = background.
        image: intensities of the block.
        begin: position of the block in the volume, (z, y, x).
        shape: of the volume; None where the block is the whole volume.
    """
    dense, ids = _dense(labels)
    count = len(ids) + 1
    volume, measured, intensity = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count)
    for plane, values in zip(labels, image, strict=True):
        flat, grey = dense[plane.reshape(-1)], values.reshape(-1).astype(np.float64)
        finite = np.isfinite(grey)
        volume += np.bincount(flat, minlength=count)
        measured += np.bincount(flat[finite], minlength=count)
        intensity += np.bincount(flat[finite], grey[finite], count)
    border = np.zeros(count, dtype=np.bool_)
    whole = labels.shape if shape is None else shape
    for axis, (first, size, total) in enumerate(zip(begin, labels.shape, whole, strict=True)):
        for at, is_face in ((0, first == 0), (-1, first + size == total)):
            if is_face and labels.size:
                border[dense[labels.take(at, axis).reshape(-1)]] = True
    return ObjectSums(ids, volume[1:], measured[1:], intensity[1:], border[1:])


def _dense(
    labels: Integer[np.ndarray, "d h w"],
) -> tuple[Integer[np.ndarray, " most"], Int64[np.ndarray, " n"]]:
    """A table from id to 1..n for the n objects of a block, and their ids; without sorting the voxels."""
    there = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.bool_)
    for plane in labels:
        there[plane] = True
    there[0] = False
    ids = np.flatnonzero(there).astype(np.int64)
    table = np.zeros(len(there), np.int64)
    table[ids] = np.arange(1, len(ids) + 1)
    return table, ids
