"""Blocks: boxes of whole tiles. A task predicts one block, and suppression compares a block with its neighbours."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anystar_torch.arrays import Triple
from anystar_torch.inference.plan import Layout
from anystar_torch.inference.tiles import Piece, Tile, cut_axes, tiles_of

Corners = tuple[Triple, Triple]
"""First voxel of a box, and the voxel after its last one, (z, y, x)."""

BLOCK = 256
"""Network voxels along each axis that a block owns, about: a task of seconds to minutes, and few files."""


@dataclass(frozen=True)
class Blocks:
    """All blocks of a pass.

    Attributes:
        axes: for each axis, the pieces of its tiles in groups; a block is one group of each axis.
    """

    axes: tuple[tuple[tuple[Piece, ...], ...], ...]

    @classmethod
    def of(cls, shape: Triple, divisor: Triple, layout: Layout, block: int = BLOCK) -> "Blocks":
        """The blocks of a volume.

        Args:
            shape: shape of the resampled volume, (z, y, x).
            divisor: sizes and starts of tiles are multiples of it.
            layout: how the volume is cut into tiles.
            block: voxels along each axis that a block owns, about; at least one tile.
        """
        cut = cut_axes(shape, divisor, layout.size, layout.halo)
        return cls(tuple(tuple(_groups(pieces, block)) for pieces in cut))

    def names(self) -> Iterator[str]:
        """The names of all blocks, in z, y, x order."""
        for index in itertools.product(*(range(len(groups)) for groups in self.axes)):
            yield "-".join(map(str, index))

    def tiles(self, name: str) -> list[Tile]:
        """The tiles of a block, in the order of the whole volume.

        Args:
            name: of the block.
        """
        return tiles_of(self._groups(name))

    def box(self, name: str) -> Corners:
        """What a block owns.

        Args:
            name: of the block.
        """
        groups = self._groups(name)
        (z, y, x), (d, h, w) = [group[0][2] for group in groups], [group[-1][3] for group in groups]
        return (z, y, x), (d, h, w)

    def meeting(self, box: Corners) -> list[str]:
        """The names of the blocks that own a voxel of a box.

        Args:
            box: corners in voxels of the pass.
        """
        ranges = [
            [k for k, group in enumerate(groups) if group[0][2] < stop and start < group[-1][3]]
            for groups, start, stop in zip(self.axes, *box, strict=True)
        ]
        return ["-".join(map(str, index)) for index in itertools.product(*ranges)]

    def _groups(self, name: str) -> list[tuple[Piece, ...]]:
        return [groups[int(k)] for groups, k in zip(self.axes, name.split("-"), strict=True)]


def _groups(pieces: Sequence[Piece], block: int) -> Iterator[tuple[Piece, ...]]:
    """Neighbouring pieces that together own about ``block`` voxels."""
    group: list[Piece] = []
    for piece in pieces:
        if group and piece[3] - group[0][2] > block:
            yield tuple(group)
            group = []
        group.append(piece)
    yield tuple(group)


@dataclass(frozen=True)
class Boxes:
    """Boxes of one size that cover a volume; those at its end may be smaller.

    Attributes:
        shape: number of voxels of the volume, (z, y, x).
        size: of a box.
    """

    shape: Triple
    size: Triple

    @property
    def counts(self) -> Triple:
        """Number of boxes along each axis."""
        z, y, x = (-(-total // step) for total, step in zip(self.shape, self.size, strict=True))
        return z, y, x

    def names(self) -> list[str]:
        """The names of all boxes, in z, y, x order."""
        return ["-".join(map(str, index)) for index in itertools.product(*map(range, self.counts))]

    def box(self, name: str) -> Corners:
        """The corners of a box.

        Args:
            name: of the box.
        """
        z, y, x = (int(k) * step for k, step in zip(name.split("-"), self.size, strict=True))
        d, h, w = (min(a + s, n) for a, s, n in zip((z, y, x), self.size, self.shape, strict=True))
        return (z, y, x), (d, h, w)


def slices(box: Corners) -> tuple[slice, slice, slice]:
    """The index of a box.

    Args:
        box: its corners.
    """
    z, y, x = (slice(start, stop) for start, stop in zip(*box, strict=True))
    return z, y, x


class Index:
    """Finds the boxes that meet a box, among many.

    Args:
        boxes: corners by name; None for those that are empty.
        cell: side of the cells that boxes are sorted into; about the size of a box.
    """

    def __init__(self, boxes: Mapping[str, Any], cell: int = BLOCK) -> None:
        self._boxes = {name: box for name, box in boxes.items() if box is not None}
        self._cell = cell
        self._cells: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, box in self._boxes.items():
            for key in self._keys(box):
                self._cells[key].append(name)

    def meeting(self, box: Any) -> list[str]:
        """The names of the boxes that share a voxel with a box, sorted.

        Args:
            box: its corners.
        """
        near = {name for key in self._keys(box) for name in self._cells.get(key, ())}
        return sorted(name for name in near if _meet(self._boxes[name], box))

    def _keys(self, box: Any) -> Iterable[tuple[int, ...]]:
        return itertools.product(
            *(range(a // self._cell, (b - 1) // self._cell + 1) for a, b in zip(*box, strict=True))
        )


def _meet(one: Any, other: Any) -> bool:
    return all(a < d and c < b for a, b, c, d in zip(*one, *other, strict=True))
