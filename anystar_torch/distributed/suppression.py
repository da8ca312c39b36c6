"""Suppression in blocks: the survivors of one suppression of all candidates, in any order of the work.

Greedy suppression goes through the candidates from the best to the worst. A candidate is decided as soon as every
better one that it conflicts with is decided. A block therefore decides, in each round, those of its candidates that
conflict with no undecided better one, neither of its own nor of other blocks. It knows what other blocks have decided
before. Decisions are final, and the best undecided candidate is decided in every round, so the rounds end.

In a round, blocks whose faces touch are decided one after the other if there are enough others to work on. The later
one does not test the candidates that the earlier one has removed.

A block compares its undecided candidates with those of other blocks that can meet them, wherever they are. Candidates
that reach far beyond their block would need many others in memory, so they wait until most of those are decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8

from anystar_torch.distributed.blocks import Index
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.run import Run
from anystar_torch.distributed.work_folder import Item
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.suppression_of_part import GONE, OPEN, SURVIVES, Polyhedra, suppress_part

STAGE = "suppression"
_PATIENCE = 2  # rounds in which candidates that reach far beyond their block wait
_CACHE = 256 << 20  # bytes for the voxels of polyhedra
_SPARE = 1.0  # voxels by which boxes of candidates are larger than they need to be


@dataclass(frozen=True)
class Part:
    """The candidates of a block, and what is known about them.

    Attributes:
        candidates: the stored candidates.
        states: their states so far; None if all are open.
    """

    candidates: Item
    states: Item | None


def survivors(job: Job, run: Run, blocks: dict[str, Item]) -> dict[str, Item]:
    """Which candidates survive, by block: results with the array ``states``.

    Args:
        job: the prediction.
        run: runs the tasks.
        blocks: candidates by block.
    """
    index = Index({name: item.facts["box"] for name, item in blocks.items()})
    states: dict[str, Item] = {}
    undecided = [name for name, item in blocks.items() if item.facts["count"]]
    number = 0

    def parts(name: str) -> tuple[Any, ...]:
        others = [one for one in index.meeting(blocks[name].facts["box"]) if one != name]
        own, *rest = (Part(blocks[one], states.get(one)) for one in (name, *others))
        return own, rest

    def receive(item: Item) -> None:
        states[item.name] = item

    while undecided:
        number += 1
        task, ordered = partial(decide_block, job, number), sorted(undecided, key=_colour)
        found = run.stage(job.work, f"{STAGE}.{number}", task, ordered, parts, receive)
        states.update(found)
        undecided = [name for name, item in found.items() if item.facts["open"]]
    return states


def _colour(name: str) -> int:
    """0 or 1, different for two blocks that share a face."""
    return sum(map(int, name.split("-"))) % 2


def decide_block(job: Job, number: int, name: str, own: Part, others: Sequence[Part]) -> Item:
    """Store the states of a block's candidates after one more round.

    Args:
        job: the prediction.
        number: of the round, from 1.
        name: of the block.
        own: the block's candidates.
        others: those of the blocks that may meet them.
    """
    if number == 1:
        job.work.check(own.candidates)
    mine = _Loaded.of(job, own)
    open_ = np.flatnonzero(mine.states == OPEN)
    wide = _reach_far(mine, open_, job.blocks.box(name))
    near = _Region.of(mine, open_[~wide])
    far = None if number <= _PATIENCE else _Region.of(mine, open_[wide])
    known, undecided = _Gathered(), _Gathered()
    undecided.add(mine, open_, held=wide if far is None else np.zeros(len(open_), bool))
    for part in [mine, *(_Loaded.of(job, other) for other in others)]:
        relevant = part.meeting(near)
        if far is not None:
            relevant |= part.meeting(far) & (part.scores >= far.worst)
        known.add(part, np.flatnonzero(relevant & (part.states == SURVIVES)))
        if part is not mine:
            rows = np.flatnonzero(relevant & (part.states == OPEN))
            undecided.add(part, rows, held=np.ones(len(rows), bool))
    held = torch.from_numpy(np.concatenate(undecided.held))
    decided = suppress_part(
        known.polyhedra(job.rays),
        undecided.polyhedra(job.rays),
        held,
        job.rays,
        job.options.nms_thresh,
        _CACHE,
        own=len(open_),
    )
    states = mine.states.copy()
    states[open_] = decided[: len(open_)].numpy()
    facts = {"open": int((states == OPEN).sum()), "kept": int((states == SURVIVES).sum())}
    return job.work.write(f"{STAGE}.{number}", name, {"states": states}, facts)


@dataclass(frozen=True)
class _Region:
    """A box that holds candidates, and the worst of their scores."""

    low: Float32[np.ndarray, " 3"]
    high: Float32[np.ndarray, " 3"]
    worst: float

    @classmethod
    def of(cls, part: "_Loaded", rows: Int64[np.ndarray, " k"]) -> "_Region":
        """The region of some candidates; empty without any."""
        if not len(rows):
            return cls(np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32), np.inf)
        points, reach = part.points[rows], part.reach[rows][:, None] + np.float32(_SPARE)
        low, high = (points - reach).min(axis=0), (points + reach).max(axis=0)
        return cls(low, high, float(part.scores[rows].min()))


@dataclass(frozen=True)
class _Loaded:
    """The stored candidates of a block: distances stay in the file until they are needed."""

    points: Float32[np.ndarray, "n 3"]
    reach: Float32[np.ndarray, " n"]
    scores: Float32[np.ndarray, " n"]
    distances: Any
    states: UInt8[np.ndarray, " n"]

    @classmethod
    def of(cls, job: Job, part: Part) -> "_Loaded":
        arrays = job.work.read(part.candidates)
        count = len(arrays["scores"])
        known = None if part.states is None else job.work.read(part.states)["states"]
        states = np.full(count, OPEN, np.uint8) if known is None else np.array(known)
        points, reach, scores = (np.asarray(arrays[name]) for name in ("points", "reach", "scores"))
        return cls(points, reach, scores, arrays["distances"], states)

    def meeting(self, region: _Region) -> Bool[np.ndarray, " n"]:
        """Which candidates can meet a region."""
        reach = self.reach[:, None] + np.float32(_SPARE)
        near = (self.points - reach <= region.high) & (self.points + reach >= region.low)
        meets: Bool[np.ndarray, " n"] = near.all(axis=1) & (self.states != GONE)
        return meets


class _Gathered:
    """Candidates of several blocks."""

    def __init__(self) -> None:
        self.columns: list[tuple[Any, Any, Any]] = []
        self.held: list[Bool[np.ndarray, " _"]] = []

    def add(
        self, part: _Loaded, rows: Int64[np.ndarray, " k"], held: Bool[np.ndarray, " k"] | None = None
    ) -> None:
        """Take some candidates of a block."""
        self.columns.append((part.points[rows], part.distances[rows].astype(np.float32), part.scores[rows]))
        if held is not None:
            self.held.append(held)

    def polyhedra(self, rays: Rays) -> Polyhedra:
        """All of them."""
        nothing = (
            np.empty((0, 3), np.float32),
            np.empty((0, len(rays)), np.float32),
            np.empty(0, np.float32),
        )
        columns = [np.concatenate(column) for column in zip(nothing, *self.columns, strict=True)]
        points, distances, scores = map(torch.from_numpy, columns)
        return Polyhedra(points, distances, scores)


def _reach_far(part: _Loaded, rows: Int64[np.ndarray, " k"], box: Any) -> Bool[np.ndarray, " k"]:
    """Which candidates reach beyond their block by more than half of its size."""
    low, high = np.array(box[0], np.float32), np.array(box[1], np.float32)
    margin = (high - low) / 2
    points, reach = part.points[rows], part.reach[rows][:, None]
    beyond = (points - reach < low - margin) | (points + reach > high + margin)
    far: Bool[np.ndarray, " k"] = beyond.any(axis=1)
    return far
