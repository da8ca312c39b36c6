"""Tiles of a volume. Each voxel is owned by one tile, and each tile has a halo around the voxels that it owns.

All tiles of a volume have one size, so that they can form a batch. A tile at the border of the volume needs no halo
there and owns more voxels instead. Tiles start at multiples of the network's divisor, so that pooling groups the same
voxels in every tiling. Predictions then do not depend on the tiling once the halo covers the receptive field.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anystar_torch.arrays import Triple

Piece = tuple[int, int, int, int]
"""Start, stop, low and high of a tile along one axis, as in :class:`Tile`."""


@dataclass(frozen=True)
class Tile:
    """A box for the network, and the box inside it that the tile owns; corners in (z, y, x).

    Attributes:
        start: first voxel of the tile.
        stop: voxel after the last one of the tile.
        low: first voxel that the tile owns.
        high: voxel after the last one that the tile owns.
    """

    start: Triple
    stop: Triple
    low: Triple
    high: Triple


def size_of(tile: Tile) -> Triple:
    """Size of a tile with its halo, (z, y, x).

    Args:
        tile: the tile.
    """
    z, y, x = (b - a for a, b in zip(tile.start, tile.stop, strict=True))
    return z, y, x


def padded(shape: Sequence[int], divisor: Triple) -> Triple:
    """A shape rounded up to multiples of the divisor.

    Args:
        shape: (z, y, x).
        divisor: (z, y, x).
    """
    z, y, x = (-(-value // d) * d for value, d in zip(shape, divisor, strict=True))
    return z, y, x


def margin_of(size: Triple, smallest: int, divisor: Triple, grid: Triple) -> Triple:
    """Voxels that are computed on each side of a tile beside it, so that the network sees enough, (z, y, x).

    Args:
        size: size of the tile, (z, y, x), a multiple of the divisor.
        smallest: extent in voxels of the tile with both margins, at least.
        divisor: the tile with both margins is a multiple of it.
        grid: margins are multiples of it.
    """
    steps = (d // 2 if d % (2 * g) == 0 else d for d, g in zip(divisor, grid, strict=True))
    z, y, x = (-(-max(0, smallest - n) // (2 * step)) * step for n, step in zip(size, steps, strict=True))
    return z, y, x


def cut_volume(shape: Sequence[int], divisor: Triple, size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """The tiles of a volume, in z, y, x order. The boxes that they own partition the padded volume.

    Args:
        shape: shape of the volume, (z, y, x).
        divisor: sizes and starts of tiles are multiples of it.
        size: size of a tile with its halo. An axis that is not longer is not cut.
        halo: voxels around the owned box, except at the border of the volume; rounded up to the divisor.

    Raises:
        ValueError: the halo fills the tile, so that nothing would be owned.
    """
    return tiles_of(cut_axes(shape, divisor, size, halo))


def cut_axes(
    shape: Sequence[int], divisor: Triple, size: Sequence[int], halo: Sequence[int]
) -> list[list[Piece]]:
    """The pieces of each axis, of which the tiles of :func:`cut_volume` are the product. Arguments are the same."""
    around = padded(halo, divisor)
    return [_cut_axis(*axis) for axis in zip(padded(shape, divisor), divisor, size, around, strict=True)]


def tiles_of(axes: Sequence[Sequence[Piece]]) -> list[Tile]:
    """The tiles that pieces of the three axes form, in z, y, x order.

    Args:
        axes: some or all of the pieces of each axis.
    """
    return [Tile(*zip(*pieces, strict=True)) for pieces in itertools.product(*axes)]


def cut_tile(tile: Tile, divisor: Triple, size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """Smaller tiles inside a tile, which together own the same box.

    Args:
        tile: the larger tile, whose own halo is at least as wide.
        divisor: as for :func:`cut_volume`.
        size: as for :func:`cut_volume`.
        halo: as for :func:`cut_volume`.
    """
    pieces = []
    for piece in cut_volume(np.subtract(tile.stop, tile.start).tolist(), divisor, size, halo):
        start, stop, low, high = (_shifted(corner, tile.start) for corner in vars(piece).values())
        low, high = _per_axis(max, low, tile.low), _per_axis(min, high, tile.high)
        if all(a < b for a, b in zip(low, high, strict=True)):
            pieces.append(Tile(start, stop, low, high))
    return pieces


def best_tile_size(
    shape: Sequence[int],
    divisor: Triple,
    halo: Sequence[int],
    max_voxels: float | int,
    share_of_halo: float | int = 1,
    smallest: int = 0,
) -> Triple:
    """The size of tiles of at most ``max_voxels`` voxels with which the network computes least in total.

    Every number of tiles per axis is tried. Halos are computed more than once, and how often depends on the shape. Of
    sizes with equal work, the largest one is chosen.

    Args:
        shape: shape of the volume, (z, y, x).
        divisor: as for :func:`cut_volume`.
        halo: as for :func:`cut_volume`.
        max_voxels: largest number of voxels in a tile.
        share_of_halo: what a voxel of the halo counts, 0 to 1.
        smallest: voxels that a tile has along an axis at least, where the axis has so many.

    Raises:
        ValueError: even the smallest tile, one divisor inside its halo, is larger.
    """
    lengths, counts, owned = [], [], []
    for total, d, h in zip(padded(shape, divisor), divisor, padded(halo, divisor), strict=True):
        found = {_tile_length(total, d, count, h) for count in range(1, total // d + 1)}
        found = {length for length in found if length >= min(total, smallest)}
        lengths.append(np.array(sorted(found), float))
        pieces = [_cut_axis(total, d, length, h) for length in sorted(found)]
        counts.append(np.array([len(some) for some in pieces], float))
        owned.append(np.array([max(high - low for _, _, low, high in some) for some in pieces], float))
    voxels, inside = _product(lengths), _product(owned)
    work, taken = voxels * _product(counts), share_of_halo * (voxels - inside) + inside
    if taken.min() > max_voxels:
        raise ValueError(f"the smallest tile has {taken.min():.0f} voxels, and {max_voxels:.0f} fit")
    work[taken > max_voxels] = np.inf
    best = np.unravel_index(np.where(work == work.min(), voxels, 0).argmax(), work.shape)
    z, y, x = (int(axis[i]) for axis, i in zip(lengths, best, strict=True))
    return z, y, x


def _product(axes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Products of every element of the first axis with every one of the second and of the third."""
    return axes[0][:, None, None] * axes[1][:, None] * axes[2]


def _shifted(corner: Triple, by: Triple) -> Triple:
    return corner[0] + by[0], corner[1] + by[1], corner[2] + by[2]


def _per_axis(choose: Callable[[int, int], int], a: Triple, b: Triple) -> Triple:
    return choose(a[0], b[0]), choose(a[1], b[1]), choose(a[2], b[2])


def _tile_length(total: int, divisor: int, count: int, halo: int) -> int:
    """Length of ``count`` tiles that cover an axis, with a halo on both sides of every cut."""
    exact = -(-(total + 2 * (count - 1) * halo) // count)
    return min(total, max(-(-exact // divisor) * divisor, 2 * halo + divisor))


def _cut_axis(total: int, divisor: int, size: int, halo: int) -> list[Piece]:
    """The pieces of one axis."""
    size = min(total, size // divisor * divisor)
    if size < total and size < 2 * halo + divisor:
        raise ValueError(
            f"tiles of {size} voxels own nothing inside a halo of {halo} on both sides; they must be at least "
            f"{2 * halo + divisor} voxels wide: raise max_memory or the tile size"
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
