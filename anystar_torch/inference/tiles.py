"""A volume in pieces: every voxel is owned by one tile, and every tile sees a halo around what it owns.

All tiles of a volume have one size, so that they can share a batch; tiles at the border reach further inwards
instead of past the end. Starts are multiples of the network's divisor: pooling then groups the same voxels
whatever the tiling, and predictions inside do not depend on it once the halo covers what the network sees.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

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
    z, y, x = (-(-size // d) * d for size, d in zip(shape, divisor, strict=True))
    return z, y, x


def tiles(shape: Sequence[int], divisor: Triple, size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """Cut a volume.

    Args:
        shape: of the volume, (z, y, x).
        divisor: sizes and starts of tiles are multiples of it.
        size: largest tile, halo included; an axis that fits into it is not cut.
        halo: voxels around what a tile owns, on sides where the volume goes on; rounded up to the divisor.

    Returns:
        Tiles in z, y, x order, all of one size; what they own partitions the padded volume.

    Raises:
        ValueError: a size that the halo fills, so that nothing is owned.
    """
    axes = [
        _cut(total, d, s, h)
        for total, d, s, h in zip(padded(shape, divisor), divisor, size, halo, strict=True)
    ]
    return [Tile(*zip(*boxes, strict=True)) for boxes in itertools.product(*axes)]


def _cut(total: int, divisor: int, size: int, halo: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, low, high) of the pieces of one axis."""
    if total <= size:
        return [(0, total, 0, total)]
    halo = -(-halo // divisor) * divisor
    own = size // divisor * divisor - 2 * halo
    if own < divisor:
        raise ValueError(
            f"tiles of {size} voxels leave nothing to own inside a halo of {halo} on both sides; "
            f"tiles must be at least {2 * halo + divisor} voxels wide: allow more memory (--max-memory)"
        )
    count = -(-total // own)
    blocks = total // divisor
    cuts = [blocks * i // count * divisor for i in range(count + 1)]
    length = min(total, max(high - low for low, high in itertools.pairwise(cuts)) + 2 * halo)
    pieces = []
    for low, high in itertools.pairwise(cuts):
        start = min(max(low - halo, 0), total - length)
        pieces.append((start, start + length, low, high))
    return pieces
