"""Labels at half the resolution: the most frequent label of every block of voxels."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Integer, UInt8


def most_frequent(
    labels: Integer[np.ndarray, "*shape"], factors: Sequence[int]
) -> Integer[np.ndarray, "*reduced"]:
    """The most frequent label of every block. Labels are never averaged, because a mean of ids is another id.

    Of labels that are equally frequent an object wins over background, and then the one whose voxel comes first.
    Blocks that are cut off at the end of an axis count the voxels they have.

    Args:
        labels: of any integer type.
        factors: size of a block along every axis, 1 or 2.

    Returns:
        Labels of the same type; an axis of n voxels and factor f has ceil(n / f).

    Raises:
        ValueError: a factor is not 1 or 2, or their number is not that of the axes.
    """
    if len(factors) != labels.ndim or not set(factors) <= {1, 2}:
        raise ValueError(f"factors must be 1 or 2 for each of {labels.ndim} axes, got {tuple(factors)}")
    missing = [(0, -size % factor) for size, factor in zip(labels.shape, factors, strict=True)]
    if any(
        pad for _, pad in missing
    ):  # a repeated voxel counts twice, and so does every other one of its block
        labels = np.pad(labels, missing, mode="edge")
    voxels = [
        labels[tuple(slice(first, None, factor) for first, factor in zip(start, factors, strict=True))]
        for start in product(*(range(factor) for factor in factors))
    ]
    best, most = voxels[0].copy(), _votes(voxels[0], voxels)
    for voxel in voxels[1:]:
        votes = _votes(voxel, voxels)
        better = votes > most
        best[better], most[better] = voxel[better], votes[better]
    return best


def _votes(
    voxel: Integer[np.ndarray, "*shape"], voxels: Sequence[Integer[np.ndarray, "*shape"]]
) -> UInt8[np.ndarray, "*shape"]:
    """Twice the number of voxels of a block that have the label of one of them, and one more for an object."""
    votes: UInt8[np.ndarray, "*shape"] = (voxel != 0).astype(np.uint8)
    for other in voxels:
        votes += np.uint8(2) * (voxel == other)
    return votes
