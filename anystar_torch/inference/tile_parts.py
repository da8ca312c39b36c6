"""Tiles predicted some planes at a time, on a CPU: less memory, and no decoder for the halo."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.inference.coarse_pass import CoarsePass
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.selection import Selection, joined, owned_grid_points, select
from anystar_torch.inference.tiles import Tile, size_of
from anystar_torch.inference.transfer import Transfer
from anystar_torch.network.stardist import Prediction

if TYPE_CHECKING:
    from anystar_torch.inference.tile_network import TileNetwork


class TileProbability(NamedTuple):
    """The probabilities that a tile owns.

    Attributes:
        place: where they are in those of the whole volume.
        values: the probabilities.
    """

    place: tuple[slice, slice, slice]
    values: Float32[np.ndarray, "d h w"]


def select_in_parts(
    tile_network: "TileNetwork",
    volume: ResampledVolume,
    tile: Tile,
    prob_thresh: float | int,
    precision: torch.dtype | None,
    coarse: CoarsePass | None,
) -> Selection:
    """The candidates of a tile, selected part by part, so that no distances of the whole tile are in memory.

    Args:
        tile_network: the network.
        volume: the volume.
        tile: the tile.
        prob_thresh: candidates have a higher score.
        precision: number type of the convolutions; None for that of the network.
        coarse: coarse pass, with which probabilities are combined.
    """
    network, transfer = tile_network.network, tile_network.transfer
    found = []
    for part, (probability, distances) in parts_of(tile_network, volume, tile, precision):
        scores = probability[0] if coarse is None else coarse.combine(probability[0], part, transfer)
        found.append(select(scores, distances[0], part, volume.shape, network.grid, prob_thresh))
    return joined(found, len(network.rays))


def probabilities_in_parts(
    tile_network: "TileNetwork", volume: ResampledVolume, tile: Tile, precision: torch.dtype | None
) -> Iterator[tuple[Float32[Tensor, "d h w"], Triple]]:
    """The probabilities that a tile owns, part by part, each with the voxel of its first grid point.

    Args:
        tile_network: the network.
        volume: the volume.
        tile: the tile.
        precision: number type of the convolutions; None for that of the network.

    Yields:
        At least one part; it is empty if the tile owns no grid point inside the volume.
    """
    empty = True
    for part, predicted in parts_of(tile_network, volume, tile, precision, distances=False):
        empty = False
        yield predicted.probability[0, 0], part.start
    if empty:
        inside, first = owned_grid_points(tile, volume.shape, tile_network.network.grid)
        yield torch.empty([one.stop - one.start for one in inside], dtype=torch.float32), first


def start_collecting_probabilities(
    found: Iterable[tuple[Float32[Tensor, "d h w"], Triple]], grid: Triple, transfer: Transfer
) -> Callable[[], tuple[list[TileProbability], bool]]:
    """Start to copy probabilities to the host.

    Args:
        found: probabilities, each with the voxel of its first grid point.
        grid: subsampling of the prediction, (z, y, x).
        transfer: copies from their device.

    Returns:
        A function that waits for them, and also returns whether all are finite.
    """
    places, parts = [], []
    for part, first in found:
        z, y, x = (slice(a // g, a // g + n) for a, g, n in zip(first, grid, part.shape, strict=True))
        places.append((z, y, x))
        parts.append(part)
    known = transfer.start_download(torch.stack([part.isfinite().all() for part in parts]))

    def finish() -> tuple[list[TileProbability], bool]:
        finite = bool(known().all())
        arrays = transfer.download(parts)
        return [TileProbability(*pair) for pair in zip(places, arrays, strict=True)], finite

    return finish


def parts_of(
    tile_network: "TileNetwork",
    volume: ResampledVolume,
    tile: Tile,
    precision: torch.dtype | None,
    distances: bool = True,
) -> Iterator[tuple[Tile, Prediction]]:
    """The predictions of parts of a tile, in z order, which together are the grid points that it owns.

    Args:
        tile_network: the network.
        volume: the volume.
        tile: the tile.
        precision: number type of the convolutions; None for that of the network.
        distances: whether distances are computed.
    """
    grid = tile_network.network.grid
    (bz, by, bx), (z, y, x) = owned_grid_points(tile, volume.shape, grid)
    if any(one.start >= one.stop for one in (bz, by, bx)):
        return
    margin = tile_network.margin(size_of(tile))
    image = volume.box(*tile_network.box(tile, margin), tile_network.transfer)
    mz, my, mx = (m // g for m, g in zip(margin, grid, strict=True))
    box = (bz.start + mz, by.start + my, bx.start + mx), (bz.stop + mz, by.stop + my, bx.stop + mx)
    parts = tile_network.network.within(image.to(memory_format=torch.channels_last_3d), box, distances)
    while True:
        with tile_network.computing(precision):
            found = next(parts, None)
        if found is None:
            return
        plane, predicted = found
        start = z + (plane - box[0][0]) * grid[0], y, x
        depth, height, width = predicted.probability.shape[2:]
        stop = start[0] + depth * grid[0], y + height * grid[1], x + width * grid[2]
        yield Tile(start, stop, start, stop), predicted
