"""The voxels that a network processes in predictions: those of its tiles, with halos and mirrored context."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile, size_of


@contextmanager
def counted_voxels() -> Iterator[list[int]]:
    """A list that gets the number of voxels of every batch of tiles.

    A hook of the network would not see tiles that are computed in parts.
    """
    seen: list[int] = []
    with ExitStack() as patches:
        for name in ("start", "start_probability"):
            patches.enter_context(mock.patch.object(TileNetwork, name, _counted(name, seen)))
        yield seen


def _counted(name: str, seen: list[int]) -> Any:
    """A method of the network that also notes the voxels of the tiles it is given."""
    method = getattr(TileNetwork, name)

    def counted(network: TileNetwork, volume: Any, tiles: Sequence[Tile], *rest: Any, **named: Any) -> Any:
        size = size_of(tiles[0])
        sides = (n + 2 * m for n, m in zip(size, network.margin(size), strict=True))
        seen.append(len(tiles) * math.prod(sides))
        return method(network, volume, tiles, *rest, **named)

    return counted
