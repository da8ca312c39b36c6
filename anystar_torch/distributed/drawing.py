"""Labels of a box: which objects are visible in it, and the voxels of each under its id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64

from anystar_torch.distributed.blocks import Boxes, Corners
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.objects import order_of
from anystar_torch.distributed.work_folder import Item
from anystar_torch.geometry.rendering import render_box
from anystar_torch.io import LabelStore
from anystar_torch.io.label_layout import LabelBox

VISIBLE, LABELS, PYRAMID = "visible", "labels", "pyramid"


@dataclass(frozen=True)
class Drawn:
    """The objects that can lie in a box, in their order.

    Attributes:
        labels: the box; k + 1 where object k is.
        block: for each object, which of the given blocks it comes from.
        row: its row there.
    """

    labels: Int32[np.ndarray, "d h w"]
    block: Int64[np.ndarray, " n"]
    row: Int64[np.ndarray, " n"]


def draw(job: Job, box: Corners, blocks: Sequence[Item]) -> Drawn:
    """Draw the objects of some blocks into a box.

    Args:
        job: the prediction.
        box: in voxels of the input.
        blocks: objects of all blocks that can reach into the box.
    """
    low, high = np.array(box[0], np.float32), np.array(box[1], np.float32)
    columns: list[tuple[Any, ...]] = []
    for number, item in enumerate(blocks):
        arrays = job.work.read(item)
        points, reach = np.asarray(arrays["points"]), np.asarray(arrays["reach"])[:, None] + np.float32(1)
        rows = np.flatnonzero(((points + reach >= low) & (points - reach <= high)).all(axis=1))
        names = ("points", "distances", "scores", "places")
        columns.append(
            (*(np.asarray(arrays[name][rows]) for name in names), np.full(len(rows), number), rows)
        )
    size = [b - a for a, b in zip(*box, strict=True)]
    if not sum(len(column[0]) for column in columns):
        nothing = np.empty(0, np.int64)
        return Drawn(np.zeros(size, np.int32), nothing, nothing)
    points, distances, scores, places, block, row = map(np.concatenate, zip(*columns, strict=True))
    order = order_of(scores, places)
    rays, _ = job.scaling().rays(job.rays)
    polyhedra = torch.from_numpy(points[order]), torch.from_numpy(distances[order])
    return Drawn(render_box(*polyhedra, rays, box[0], size).numpy(), block[order], row[order])


def visible_in_box(job: Job, name: str, blocks: Sequence[Item]) -> Item:
    """Store which objects have a voxel of their own in a box of the labels.

    Args:
        job: the prediction.
        name: of the box, one of :func:`label_boxes`.
        blocks: objects of all blocks that can reach into the box.
    """
    drawn = draw(job, label_boxes(job).box(name), blocks)
    seen = np.flatnonzero(_occurring(drawn))
    order = np.lexsort((drawn.row[seen], drawn.block[seen]))
    arrays = {"block": drawn.block[seen][order].astype(np.int64), "row": drawn.row[seen][order]}
    return job.work.write(VISIBLE, name, arrays, {"blocks": [item.name for item in blocks]})


def label_shard(
    job: Job, target: LabelStore, name: str, box: LabelBox, blocks: Sequence[Item], ids: Sequence[Item]
) -> Item:
    """Write one shard of the labels, and note that it is written.

    Args:
        job: the prediction.
        target: the label image.
        name: of the shard.
        box: of the shard.
        blocks: objects of all blocks that can reach into the box.
        ids: the ids of their objects.
    """
    z, y, x = box[-3:]
    drawn = draw(job, ((z.start, y.start, x.start), (z.stop, y.stop, x.stop)), blocks)
    numbers = numbers_of(job, drawn, ids)
    kind = np.int32 if numbers.max() <= np.iinfo(np.int32).max else np.int64
    target.write(0, box, numbers.astype(kind)[drawn.labels])
    return job.work.write(LABELS, name, {})


def coarser_shard(job: Job, target: LabelStore, level: int, name: str, box: LabelBox) -> Item:
    """Write one shard of a coarser level, and note that it is written.

    Args:
        job: the prediction.
        target: the label image.
        level: from 1 on.
        name: of the shard.
        box: of the shard.
    """
    target.downsample(level, box)
    return job.work.write(f"{PYRAMID}.{level}", name, {})


def numbers_of(job: Job, drawn: Drawn, ids: Sequence[Item]) -> Int64[np.ndarray, " n_and_1"]:
    """The id of each label of a drawn box; 0 for background.

    Args:
        job: the prediction.
        drawn: the box.
        ids: the ids of the objects of the blocks that were drawn.
    """
    numbers = np.zeros(len(drawn.row) + 1, np.int64)
    for number, item in enumerate(ids):
        mine = np.flatnonzero(drawn.block == number)
        numbers[mine + 1] = job.work.read(item)["ids"][drawn.row[mine]]
    return numbers


def label_boxes(job: Job) -> Boxes:
    """The boxes of the labels: one shard each.

    Args:
        job: the prediction.
    """
    return Boxes(job.shape, job.options.shard)


def _occurring(drawn: Drawn) -> Bool[np.ndarray, " n"]:
    occurs = np.zeros(len(drawn.row) + 1, bool)
    for plane in drawn.labels:
        occurs[plane] = True
    return occurs[1:]
