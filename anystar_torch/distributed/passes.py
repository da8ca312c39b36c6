"""The network applied to a block: the probabilities of the coarse pass, the candidates of the fine pass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from anystar_torch.arrays import Triple
from anystar_torch.distributed.blocks import Blocks, Corners
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.work_folder import Item, WorkFolder
from anystar_torch.inference.candidates import merge
from anystar_torch.inference.coarse_pass import COARSE_FACTOR, CoarsePass, grid_shape
from anystar_torch.inference.pipeline import Events
from anystar_torch.inference.plan import Plan
from anystar_torch.inference.stages import TileRun, resample, tile_candidates
from anystar_torch.system.progress import silent

COARSE, CANDIDATES = "coarse", "candidates"


@dataclass(frozen=True)
class StoredProbability:
    """The probabilities of the coarse pass, read from the files of its blocks.

    Attributes:
        work: where the files are.
        items: results of the blocks that are read, by block.
        blocks: all blocks of the pass.
        grid: subsampling of the prediction, (z, y, x).
        shape: number of grid points of the whole volume, (z, y, x).
    """

    work: WorkFolder
    items: Mapping[str, Item]
    blocks: Blocks
    grid: Triple
    shape: Triple

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the probabilities."""
        return np.dtype(np.float32)

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Float32[np.ndarray, "d h w"]:
        low, high = [one.start for one in box], [one.stop for one in box]
        values = np.empty([b - a for a, b in zip(low, high, strict=True)], np.float32)
        for name in self.blocks.meeting(voxels_of(low, high, self.grid)):
            item = self.items[name]
            first, part = item.facts["first"], self.work.read(item)["probability"]
            begin = [max(a, f) for a, f in zip(low, first, strict=True)]
            end = [min(b, f + n) for b, f, n in zip(high, first, part.shape, strict=True)]
            if any(a >= b for a, b in zip(begin, end, strict=True)):
                continue
            there = tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, low, strict=True))
            here = tuple(slice(a - f, b - f) for a, b, f in zip(begin, end, first, strict=True))
            values[there] = part[here]
        return values


def voxels_of(low: list[int], high: list[int], grid: Triple) -> Corners:
    """The box of voxels that holds grid points.

    Args:
        low: first grid point, (z, y, x).
        high: grid point after the last one.
        grid: voxels from one grid point to the next.
    """
    z, y, x = (a * g for a, g in zip(low, grid, strict=True))
    d, h, w = ((b - 1) * g + 1 for b, g in zip(high, grid, strict=True))
    return (z, y, x), (d, h, w)


def coarse_block(job: Job, name: str) -> Item:
    """Store the probabilities that a block of the coarse pass owns.

    Args:
        job: the prediction.
        name: of the block.
    """
    network = job.network
    view = resample(job.volume, job.found.diameter, job.settings, COARSE_FACTOR)
    run, events = _tile_run(job)
    parts = []
    layout = job.found.coarse
    assert layout is not None
    plan = Plan(job.coarse_blocks.tiles(name), layout.batch)
    for results, _ in run.results(partial(network.start_probability, view), view, silent, plan):
        parts += results
    first = [min(part.place[axis].start for part in parts) for axis in range(3)]
    stop = [max(part.place[axis].stop for part in parts) for axis in range(3)]
    whole = np.zeros([max(b - a, 0) for a, b in zip(first, stop, strict=True)], np.float32)
    for part in parts:
        whole[tuple(slice(p.start - f, p.stop - f) for p, f in zip(part.place, first, strict=True))] = (
            part.values
        )
    return job.work.write(COARSE, name, {"probability": whole}, {"first": first, **_counted(events)})


def coarse_box(job: Job, name: str) -> Corners:
    """The box of the coarse pass that a block of the fine pass needs, in its voxels.

    Args:
        job: the prediction.
        name: of the block of the fine pass.
    """
    tiles = job.blocks.tiles(name)
    fine, coarse = job.scaling(), job.scaling(COARSE_FACTOR)
    grid = job.network.network.grid
    corners = []
    for axis in range(3):
        ratio = fine.ratio[axis] / coarse.ratio[axis]
        start, stop = min(t.start[axis] for t in tiles), max(t.stop[axis] for t in tiles)
        margin = 3 * grid[axis]  # interpolation between grid points
        last = coarse.shape[axis]
        first = min(max(0, int(start * ratio) - margin), last - 1)
        corners.append((first, max(first + 1, min(last, int(stop * ratio) + margin + 1))))
    (z, d), (y, h), (x, w) = corners
    return (z, y, x), (d, h, w)


def candidates_of_block(job: Job, name: str, coarse: Mapping[str, Item] | None) -> Item:
    """Store the candidates of a block, best first.

    Args:
        job: the prediction.
        name: of the block.
        coarse: results of those blocks of the coarse pass that it needs; None where there is no such pass.
    """
    fine = resample(job.volume, job.found.diameter, job.settings)
    run, events = _tile_run(job)
    plan = Plan(job.blocks.tiles(name), job.found.fine.batch)
    known = None if coarse is None else _coarse_pass(job, coarse)
    parts, _ = tile_candidates(fine, known, job.options.prob_thresh, run, plan)
    found = merge(parts, job.rays, fine.scaling, job.found.diameter, job.options.prob_thresh)
    points, distances, scores = found.points, found.distances, found.scores
    if job.mask is not None:
        inside = job.mask.holds(points, fine.shape)
        points, distances, scores = points[inside], distances[inside], scores[inside]
    reach = distances.max(axis=1).astype(np.float32) if len(distances) else np.empty(0, np.float32)
    arrays = {"points": points, "distances": distances, "scores": scores, "reach": reach}
    facts = {
        "count": len(points),
        "box": bounds(points, reach),
        "centres": bounds(points, np.zeros(len(points), np.float32)),
        **_counted(events),
    }
    return job.work.write(CANDIDATES, name, arrays, facts)


def bounds(points: Float32[np.ndarray, "n 3"], reach: Float32[np.ndarray, " n"]) -> Any:
    """Corners of a box that holds all voxels up to a distance from points; None without points.

    Args:
        points: (z, y, x) in voxels.
        reach: distance, one per point.
    """
    if not len(points):
        return None
    low, high = points - reach[:, None] - 1, points + reach[:, None] + 1  # + 1: for rounding
    return (
        np.floor(low.min(axis=0)).astype(int).tolist(),
        (np.ceil(high.max(axis=0)).astype(int) + 1).tolist(),
    )


def _coarse_pass(job: Job, items: Mapping[str, Item]) -> CoarsePass:
    scaling, grid = job.scaling(COARSE_FACTOR), job.network.network.grid
    stored = StoredProbability(job.work, items, job.coarse_blocks, grid, grid_shape(scaling.shape, grid))
    return CoarsePass(stored, scaling, job.scaling(), grid)


def _tile_run(job: Job) -> tuple[TileRun, Events]:
    """A run over some tiles, and where it counts what did not go as planned."""
    events = Events()
    return TileRun(job.settings, math.prod(job.found.fine.size), events), events


def _counted(events: Events) -> dict[str, Any]:
    return {"recomputed": events.recomputed, "non_finite": events.non_finite, "reduced": events.reduced}
