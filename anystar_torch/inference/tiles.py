"""A volume in pieces: every voxel is owned by one tile, and every tile sees a halo around what it owns.

All tiles of a volume have one size, so that they can share a batch; tiles at the border need no halo there and own
more instead. Starts are multiples of the network's divisor: pooling then groups the same voxels whatever the tiling,
and predictions inside do not depend on it once the halo covers what the network sees.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anystar_torch.inference.scale import Triple


@dataclass(frozen=True)
class Tile:
    """A box for the network, ``start`` to ``stop``, and what it owns of it, ``low`` to ``high`` (z, y, x)."""

    start: Triple
    stop: Triple
    low: Triple
    high: Triple


def padded(shape: Sequence[int], divisor: Triple) -> Triple:
    """``shape`` rounded up to what the network can take."""
    return _up(shape, divisor)


def tiles(shape: Sequence[int], divisor: Triple, size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """Cut a volume.

    Args:
        shape: of the volume, (z, y, x).
        divisor: sizes and starts of tiles are multiples of it.
        size: of a tile, halo included; an axis that fits into it is not cut.
        halo: voxels around what a tile owns, on sides where the volume goes on; rounded up to the divisor.

    Returns:
        Tiles in z, y, x order, all of one size; what they own partitions the padded volume.

    Raises:
        ValueError: a size that the halo fills, so that nothing is owned.
    """
    around = _up(halo, divisor)
    axes = [_cut(*axis) for axis in zip(padded(shape, divisor), divisor, size, around, strict=True)]
    return [Tile(*zip(*boxes, strict=True)) for boxes in itertools.product(*axes)]


def cut(tile: Tile, divisor: Triple, size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """Smaller tiles that own, together, what a tile owns; none of them sees more than it does.

    Args:
        tile: the larger one, whose own halo is as wide.
        divisor: as for :func:`tiles`.
        size: as for :func:`tiles`.
        halo: as for :func:`tiles`.
    """
    pieces = []
    for piece in tiles(np.subtract(tile.stop, tile.start).tolist(), divisor, size, halo):
        start, stop, low, high = (_moved(place, tile.start) for place in vars(piece).values())
        low, high = _each(max, low, tile.low), _each(min, high, tile.high)
        if all(a < b for a, b in zip(low, high, strict=True)):
            pieces.append(Tile(start, stop, low, high))
    return pieces


def _moved(place: Triple, by: Triple) -> Triple:
    return place[0] + by[0], place[1] + by[1], place[2] + by[2]


def _each(choose: Callable[[int, int], int], a: Triple, b: Triple) -> Triple:
    return choose(a[0], b[0]), choose(a[1], b[1]), choose(a[2], b[2])


def size_within(shape: Sequence[int], divisor: Triple, halo: Sequence[int], most: float | int) -> Triple:
    """The size of tiles of at most ``most`` voxels with which the network has least to compute.

    Every number of tiles per axis is tried: halos are computed twice, and how often depends on the shape.

    Raises:
        ValueError: even the smallest tile, one divisor inside its halo, is larger; says how large it is.
    """
    lengths, counts = [], []
    for total, d, h in zip(padded(shape, divisor), divisor, _up(halo, divisor), strict=True):
        found = {_length(total, d, count, h) for count in range(1, total // d + 1)}
        lengths.append(np.array(sorted(found), float))
        counts.append(np.array([len(_cut(total, d, length, h)) for length in sorted(found)], float))
    voxels = lengths[0][:, None, None] * lengths[1][:, None] * lengths[2]
    work = voxels * counts[0][:, None, None] * counts[1][:, None] * counts[2]
    if voxels.min() > most:
        raise ValueError(f"the smallest tile has {voxels.min():.0f} voxels, and {most:.0f} fit")
    best = np.unravel_index(np.where(voxels <= most, work, np.inf).argmin(), work.shape)
    z, y, x = (int(axis[i]) for axis, i in zip(lengths, best, strict=True))
    return z, y, x


def _length(total: int, divisor: int, count: int, halo: int) -> int:
    """Of ``count`` tiles that cover an axis, a halo shared on both sides of every cut; never too small to own."""
    exact = -(-(total + 2 * (count - 1) * halo) // count)
    return min(total, max(-(-exact // divisor) * divisor, 2 * halo + divisor))


def _cut(total: int, divisor: int, size: int, halo: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, low, high) of the pieces of one axis."""
    size = min(total, size // divisor * divisor)
    if size < total and size < 2 * halo + divisor:
        raise ValueError(
            f"tiles of {size} voxels leave nothing to own inside a halo of {halo} on both sides; "
            f"tiles must be at least {2 * halo + divisor} voxels wide: allow more memory (--max-memory)"
        )
    pieces = []
    low = 0
    while low < total:
        start = max(0, min(low - halo, total - size))
        stop = start + size
        high = total if stop == total else stop - halo
        pieces.append((start, stop, low, high))
        low = high
    return pieces


def _up(values: Sequence[int], divisor: Triple) -> Triple:
    z, y, x = (-(-value // d) * d for value, d in zip(values, divisor, strict=True))
    return z, y, x
