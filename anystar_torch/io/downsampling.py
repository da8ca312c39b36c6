"""Labels at a lower resolution: the most frequent label of every block of voxels."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from jaxtyping import Integer


def most_frequent(
    labels: Integer[np.ndarray, "*shape"], factors: Sequence[int]
) -> Integer[np.ndarray, "*reduced"]:
    """The most frequent label of every block. Labels are never averaged, because a mean of ids is another id.

    Of labels that are equally frequent an object wins over background, and then the lower id. Blocks that are cut off
    at the end of an axis count the voxels they have.

    Args:
        labels: of any integer type.
        factors: size of a block along every axis.

    Returns:
        Labels of the same type; an axis of n voxels and factor f has ceil(n / f).

    Raises:
        ValueError: a factor is below 1, or their number is not that of the axes.
    """
    if len(factors) != labels.ndim or min(factors) < 1:
        raise ValueError(f"factors must be at least 1 for each of {labels.ndim} axes, got {tuple(factors)}")
    reduced = np.empty([-(-n // f) for n, f in zip(labels.shape, factors, strict=True)], labels.dtype)
    for parts in product(*(_parts(n, f) for n, f in zip(labels.shape, factors, strict=True))):
        source, target, size = zip(*parts, strict=True)
        reduced[target] = _of_whole_blocks(labels[source], size)
    return reduced


def _parts(size: int, factor: int) -> Iterator[tuple[slice, slice, int]]:
    """The whole blocks of an axis, and the one that is cut off: source, target, and size of the blocks."""
    whole = size // factor
    if whole:
        yield slice(0, whole * factor), slice(0, whole), factor
    if size % factor:
        yield slice(whole * factor, size), slice(whole, whole + 1), size % factor


def _of_whole_blocks(
    labels: Integer[np.ndarray, "*shape"], factors: Sequence[int]
) -> Integer[np.ndarray, "*reduced"]:
    """The most frequent label of every block, from the longest run in the sorted labels of the block."""
    reduced = [n // f for n, f in zip(labels.shape, factors, strict=True)]
    split = labels.reshape([size for pair in zip(reduced, factors, strict=True) for size in pair])
    axes = range(labels.ndim)
    blocks = split.transpose([2 * axis for axis in axes] + [2 * axis + 1 for axis in axes])
    ordered = np.sort(blocks.reshape(*reduced, -1), axis=-1)
    best = ordered[..., 0].copy()
    run = np.ones(reduced, np.int32)
    longest = np.ones(reduced, np.int32)
    for place in range(1, ordered.shape[-1]):
        one = ordered[..., place]
        run = np.where(one == ordered[..., place - 1], run + 1, 1)
        better = (run > longest) | ((run == longest) & (best == 0))
        best[better], longest[better] = one[better], run[better]
    return best
