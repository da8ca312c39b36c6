"""Tiles predicted some planes at a time, on a CPU: less memory, and no decoder for the halo."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from anystar_torch.inference.coarse_pass import CoarsePass
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.selection import Selection, joined, owned_grid_points, select
from anystar_torch.inference.tiles import Tile, size_of
from anystar_torch.network.stardist import Prediction

if TYPE_CHECKING:
    from anystar_torch.inference.tile_network import TileNetwork


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
