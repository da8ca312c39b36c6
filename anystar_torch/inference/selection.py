"""The candidates of a tile, selected on the device that predicted them and then copied to the host."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int64
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Transfer

_MIN_DISTANCE = 1e-3
"""Smaller distances are raised to it, as in StarDist, so that every polyhedron has a volume."""


class TileCandidates(NamedTuple):
    """The candidates of a tile, on the host, in z, y, x order.

    Attributes:
        points: centres (z, y, x) in network voxels.
        distances: distances along the rays in network voxels.
        scores: scores in [0, 1].
    """

    points: Float32[np.ndarray, "n 3"]
    distances: Float16[np.ndarray, "n r"]
    scores: Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class Selection:
    """The candidates of a tile, on the device.

    Attributes:
        points: centres in network voxels. The first ``count`` of the m rows are candidates.
        distances: distances along the rays in network voxels.
        scores: scores in [0, 1].
        count: number of candidates.
        finite: whether all probabilities that the tile owns, and all distances of candidates, are finite.
    """

    points: Float32[Tensor, "m 3"]
    distances: Float16[Tensor, "m r"]
    scores: Float32[Tensor, " m"]
    count: Int64[Tensor, ""]
    finite: Bool[Tensor, ""]


def owned_grid_points(tile: Tile, shape: Triple, grid: Triple) -> tuple[tuple[slice, slice, slice], Triple]:
    """The grid points that a tile owns and that lie inside the volume.

    Args:
        tile: the tile.
        shape: shape of the resampled volume, without padding.
        grid: subsampling of the prediction, (z, y, x).

    Returns:
        The slices of the tile's prediction that contain them, and the voxel of the first one.
    """
    low = [-(-(a - s) // g) for a, s, g in zip(tile.low, tile.start, grid, strict=True)]
    last = [min(b, n) for b, n in zip(tile.high, shape, strict=True)]
    high = [-(-(b - s) // g) for b, s, g in zip(last, tile.start, grid, strict=True)]
    bz, by, bx = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    z, y, x = (a * g + s for a, g, s in zip(low, grid, tile.start, strict=True))
    return (bz, by, bx), (z, y, x)


def select(
    probability: Float[Tensor, "1 d h w"],
    distances: Float[Tensor, "r d h w"],
    tile: Tile,
    shape: Triple,
    grid: Triple,
    prob_thresh: float | int,
) -> Selection:
    """The candidates of a tile: grid points above the threshold that it owns and that lie inside the volume.

    The host does not wait. On CUDA it would have to wait for the number of candidates. There is a row for every grid
    point instead, candidates first.

    Args:
        probability: probabilities of the tile.
        distances: distances of the tile, in network voxels.
        tile: the tile.
        shape: shape of the resampled volume, without padding.
        grid: subsampling of the prediction, (z, y, x).
        prob_thresh: candidates have a higher probability.
    """
    inside, first = owned_grid_points(tile, shape, grid)
    owned = probability[0][inside]
    chosen = owned > prob_thresh
    z, y, x = _places(chosen)
    found = distances[:, *inside][:, z, y, x].T
    count = chosen.sum()
    of_candidates = torch.where(torch.arange(len(z), device=z.device) < count, found.sum(1), 0.0)
    finite = (owned.sum() + of_candidates.sum()).isfinite()  # NaN and infinity survive a sum
    diagonal = math.sqrt(sum(size * size for size in shape))  # it bounds every distance
    found = (
        found.nan_to_num_(nan=_MIN_DISTANCE).clamp_(_MIN_DISTANCE, diagonal).to(torch.float16).contiguous()
    )
    points = torch.stack([a * g + o for a, g, o in zip((z, y, x), grid, first, strict=True)], 1)
    return Selection(points.float(), found, owned[z, y, x].float(), count, finite)


def joined(parts: Sequence[Selection], rays: int) -> Selection:
    """The candidates of parts of a tile as those of the tile.

    Args:
        parts: their candidates, on the CPU, in z order.
        rays: number of rays.
    """
    if not parts:
        points, scores = (torch.empty(0, *shape, dtype=torch.float32) for shape in ((3,), ()))
        distances = torch.empty(0, rays, dtype=torch.float16)
        return Selection(points, distances, scores, torch.tensor(0), torch.tensor(True))
    columns = [[part.points, part.distances, part.scores] for part in parts]
    points, distances, scores = (torch.cat(column) for column in zip(*columns, strict=True))
    counts, finite = (
        torch.stack(column) for column in zip(*((p.count, p.finite) for p in parts), strict=True)
    )
    return Selection(points, distances, scores, counts.sum(), finite.all())


def start_collecting(
    selections: Sequence[Selection], transfer: Transfer
) -> Callable[[], tuple[list[TileCandidates], bool]]:
    """Start to copy the number of candidates of some tiles to the host.

    Args:
        selections: one per tile.
        transfer: copies from their device.

    Returns:
        A function that waits for the numbers, copies that many candidates, and returns those of each tile and whether
        all predictions were finite.
    """
    known = transfer.start_download(
        torch.stack([n for one in selections for n in (one.count, one.finite.long())])
    )

    def finish() -> tuple[list[TileCandidates], bool]:
        counts, finite = known().view(-1, 2).unbind(1)
        found = []
        for one, count in zip(selections, counts.tolist(), strict=True):
            # views only: a kernel launched here would run after the next tile
            rows = [column[:count] for column in (one.points, one.distances, one.scores)]
            found.append(TileCandidates(*transfer.download(rows)))
        return found, bool(finite.all())

    return finish


def _places(chosen: Bool[Tensor, "d h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the true elements in z, y, x order; on CUDA followed by zeros, up to the number of elements."""
    if chosen.device.type in ("cuda", "meta"):
        return padded_places(chosen)
    z, y, x = chosen.nonzero().unbind(1)
    return z, y, x


def padded_places(chosen: Bool[Tensor, "d h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the true elements, followed by zeros: as many rows as elements, so that the host need not wait.

    Args:
        chosen: which grid points are candidates.
    """
    _, height, width = chosen.shape
    flat, count = chosen.reshape(-1), chosen.numel()
    # The n-th true element writes its index to place n. All others write to a place at the end, which is dropped.
    place = (flat.cumsum(0) - 1).masked_fill_(~flat, count)
    numbers = torch.arange(count, device=chosen.device)
    index = torch.zeros(count + 1, dtype=torch.int64, device=chosen.device).scatter_(0, place, numbers)[:-1]
    row = index // width
    return row // height, row % height, index % width
