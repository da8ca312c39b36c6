"""The survivors of a block as objects in the voxels of the input."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from anystar_torch.distributed.job import Job
from anystar_torch.distributed.passes import bounds
from anystar_torch.distributed.work_folder import Arrays, Item
from anystar_torch.geometry.suppression_of_part import SURVIVES
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.shape_averaging import NEAR, average_shapes

STAGE = "objects"


def objects_of_block(job: Job, name: str, own: Item, states: Item, others: Sequence[Item]) -> Item:
    """Store the objects of a block, best first.

    Args:
        job: the prediction.
        name: of the block.
        own: its candidates.
        states: which of them survive.
        others: candidates of the blocks around it.
    """
    mine = job.work.read(own)
    rows = np.flatnonzero(job.work.read(states)["states"] == SURVIVES)
    centres, scores = np.asarray(mine["points"][rows]), np.asarray(mine["scores"][rows])
    shapes = np.asarray(mine["distances"][rows]).astype(np.float32)
    if job.options.shape_averaging and len(rows):
        shapes = _averaged(job, mine, rows, [job.work.read(other) for other in others])
    scaling = job.scaling()
    rays, growth = scaling.rays(job.rays)
    distances = shapes * growth
    points = scaling.points(centres)
    volumes = rays.volume(torch.from_numpy(distances)).clamp_min(0).numpy().astype(np.float64)
    reach = distances.max(axis=1) if len(distances) else np.empty(0, np.float32)
    arrays = {
        "points": points,
        "distances": distances,
        "scores": scores,
        "places": centres,
        "reach": reach,
        "volumes": volumes,
    }
    return job.work.write(STAGE, name, arrays, {"count": len(rows), "box": bounds(points, reach)})


def order_of(
    scores: Float32[np.ndarray, " n"], places: Float32[np.ndarray, "n 3"]
) -> Int64[np.ndarray, " n"]:
    """The order of candidates in a volume: falling score, then z, y, x.

    Args:
        scores: their scores.
        places: their centres in network voxels.
    """
    return np.lexsort((places[:, 2], places[:, 1], places[:, 0], -scores))


def _averaged(
    job: Job, mine: Arrays, rows: Int64[np.ndarray, " k"], others: Sequence[Arrays]
) -> Float32[np.ndarray, "k r"]:
    """The mean distances of the survivors over the candidates around their centres, whichever block these are in."""
    centres = np.asarray(mine["points"][rows])
    reach = NEAR * np.asarray(mine["distances"][rows]).astype(np.float32).mean(1)
    low, high = (centres - reach[:, None]).min(axis=0) - 1, (centres + reach[:, None]).max(axis=0) + 1
    columns, survives = [], []
    for part in (mine, *others):
        points = np.asarray(part["points"])
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        columns.append((points[near], np.asarray(part["distances"][near]), np.asarray(part["scores"][near])))
        survives.append(np.isin(near, rows) if part is mine else np.zeros(len(near), bool))
    points, distances, scores = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = order_of(scores, points)
    kept: Bool[np.ndarray, " n"] = np.concatenate(survives)[order]
    found = Candidates(
        points[order],
        distances[order],
        scores[order],
        job.rays,
        job.scaling(),
        job.found.diameter,
        job.options.prob_thresh,
    )
    return average_shapes(found, kept)


def around(item: Item) -> list[list[int]] | None:
    """The box of a block's centres with all that shape averaging can need of others; None without candidates.

    Args:
        item: its candidates.
    """
    if item.facts["centres"] is None:
        return None
    (low, high), (wide_low, wide_high) = item.facts["centres"], item.facts["box"]
    return [
        [a - round(NEAR * (a - b)) - 1 for a, b in zip(low, wide_low, strict=True)],
        [a + round(NEAR * (b - a)) + 1 for a, b in zip(high, wide_high, strict=True)],
    ]
