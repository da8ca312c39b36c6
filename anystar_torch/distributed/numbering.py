"""Ids of all objects of a volume: 1 to N in the order of their scores, as for a volume in memory."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool

from anystar_torch.distributed.job import Job
from anystar_torch.distributed.objects import order_of
from anystar_torch.distributed.work_folder import Item

STAGE = "ids"
_AT_ONCE = 10_000_000  # objects that are sorted together, about


def number_objects(
    job: Job, blocks: Mapping[str, Item], visible: Mapping[str, Item], at_once: int = _AT_ONCE
) -> dict[str, Item]:
    """Store the ids of the objects by block, in the array ``ids``; 0 for those without a voxel of their own.

    Args:
        job: the prediction.
        blocks: objects by block.
        visible: which objects have a voxel of their own, by box.
        at_once: number of objects that are sorted together, about.
    """
    known = job.work.complete(STAGE)
    if known is not None:
        return known
    seen = _seen(job, blocks, visible)
    ids = {name: np.zeros(len(one), np.int64) for name, one in seen.items()}
    last = 0
    for low, high in _score_ranges(job, blocks, at_once) if blocks else ():
        owners, rows, scores, places = [], [], [], []
        for number, (name, item) in enumerate(blocks.items()):
            arrays = job.work.read(item)
            falling = -np.asarray(arrays["scores"])
            first, stop = np.searchsorted(falling, [-high, -low], side="left")
            mine = first + np.flatnonzero(seen[name][first:stop])
            owners.append(np.full(len(mine), number))
            rows.append(mine)
            scores.append(np.asarray(arrays["scores"][mine]))
            places.append(np.asarray(arrays["places"][mine]))
        order = order_of(np.concatenate(scores), np.concatenate(places))
        numbers = np.empty(len(order), np.int64)
        numbers[order] = np.arange(last + 1, last + 1 + len(order))
        last += len(order)
        bounds = np.cumsum([0, *map(len, rows)])
        for number, name in enumerate(blocks):
            ids[name][rows[number]] = numbers[bounds[number] : bounds[number + 1]]
    items = {
        name: job.work.write(STAGE, name, {"ids": own}, {"count": int(np.count_nonzero(own))})
        for name, own in ids.items()
    }
    job.work.close(STAGE, items.values())
    return items


def _seen(
    job: Job, blocks: Mapping[str, Item], visible: Mapping[str, Item]
) -> dict[str, Bool[np.ndarray, " _"]]:
    """Which objects have a voxel of their own, by block."""
    seen = {name: np.zeros(item.facts["count"], bool) for name, item in blocks.items()}
    for item in visible.values():
        arrays = job.work.read(item)
        block, row = np.asarray(arrays["block"]), np.asarray(arrays["row"])
        for number, name in enumerate(item.facts["blocks"]):
            first, stop = np.searchsorted(block, [number, number + 1])
            seen[name][row[first:stop]] = True
    return seen


def _score_ranges(
    job: Job, blocks: Mapping[str, Item], at_once: int
) -> Iterator[tuple[np.float32, np.float32]]:
    """Ranges ``low < score <= high`` from the best scores to the worst, of about as many objects each.

    Equal scores are in one range, because objects of one score are ordered by their place.
    """
    total = sum(item.facts["count"] for item in blocks.values())
    every = max(1, total // 1_000_000)
    # a copy of each: a view would keep the file of its block open
    sample = [np.array(job.work.read(item)["scores"][::every]) for item in blocks.values()]
    scores = np.sort(np.concatenate([*sample, np.empty(0, np.float32)]))[::-1]
    parts = -(-total // at_once)
    edges = [np.float32(np.inf)]
    for part in range(1, parts):
        edge = scores[min(part * len(scores) // parts, len(scores) - 1)]
        if edge < edges[-1]:
            edges.append(edge)
    edges.append(np.float32(-np.inf))
    for high, low in itertools.pairwise(edges):
        yield low, high
