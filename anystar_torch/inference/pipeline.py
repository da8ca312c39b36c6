"""The order of the work on a volume's tiles: what is launched when, what is computed again, what is cut smaller.

On a GPU the host launches the next batch of tiles before the candidates of this one are there. A thread waits for
them meanwhile, copies them and makes arrays of them. Suppression comes after the last tile: which candidates survive
depends on all better ones within reach, and how far a candidate reaches is not known before its tile is predicted, so
that no region is surely finished before.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from anystar_torch.inference.plan import Plan
from anystar_torch.inference.scale import Triple
from anystar_torch.inference.tiles import Tile
from anystar_torch.system.device import out_of_memory, release
from anystar_torch.system.progress import Tick

T = TypeVar("T")
Finish = Callable[[], tuple[list[T], bool]]
"""Waits for the result of each tile, and says whether all that the network said is finite."""
Start = Callable[[tuple[Tile, ...], torch.dtype], Finish[T]]
"""Launches the work on a batch of tiles, in a precision."""


@dataclass
class Events:
    """What did not go as planned in a prediction.

    Attributes:
        fitted: size of the tiles that memory held in the end, and how many at once; None where the first did.
        again: tiles whose prediction was not finite and was computed again in float32.
        broken: tiles whose prediction is not finite in float32 either.
    """

    fitted: tuple[Triple, int] | None = None
    again: int = 0
    broken: int = 0

    def notes(self, kind: torch.dtype) -> tuple[str, ...]:
        """A line for each kind of event.

        Args:
            kind: what the network computed in.
        """
        notes = []
        if self.fitted is not None:
            (z, y, x), batch = self.fitted
            notes.append(
                f"the device's memory was full: went on with {batch} tile{'s' * (batch > 1)} of {z} x {y} x {x} "
                "voxels at once"
            )
        if self.again:
            name = str(kind).removeprefix("torch.")
            notes.append(
                f"the network's output was not finite in {name}: {self.again} tiles computed in float32"
            )
        if self.broken:
            notes.append(
                f"warning: the network's output is not finite in {self.broken} tiles: objects are missing there; "
                "check the model's weights"
            )
        return tuple(notes)


@dataclass(frozen=True)
class Task:
    """A batch of tiles, and what they are computed in."""

    tiles: tuple[Tile, ...]
    kind: torch.dtype


@dataclass(frozen=True)
class Pipeline(Generic[T]):
    """Runs a plan.

    Attributes:
        start: launches a batch.
        smaller: a plan for the same tiles that takes less memory; raises ValueError where there is none.
        device: whose memory is given back before smaller tiles are tried.
        overlapped: whether a batch is launched before the results of the one before are there.
        events: written to.
    """

    start: Start[T]
    smaller: Callable[[Plan], Plan]
    device: torch.device
    overlapped: bool
    events: Events

    def run(self, plan: Plan, kind: torch.dtype, tick: Tick) -> Iterator[T]:
        """The results of all tiles, in the order in which they are finished.

        Args:
            plan: the tiles.
            kind: what they are computed in at first.
            tick: told how many batches are done.
        """
        tasks = deque(Task(batch, kind) for batch in plan.batches)
        waiting: tuple[Task, Finish[T]] | None = None
        done = 0
        with _collector(self.overlapped) as collect:
            while tasks or waiting:
                tick(done, done + len(tasks) + (waiting is not None))
                finish = self._launched(tasks[0]) if tasks else None
                full = bool(tasks) and finish is None
                task = tasks.popleft() if finish is not None else None
                if waiting is not None:
                    yield from self._results(*waiting, tasks)
                    waiting, done = None, done + 1
                if task is not None and finish is not None:
                    waiting = task, collect(finish)
                elif full:
                    self._shrink(tasks)

    def _launched(self, task: Task) -> Finish[T] | None:
        """What waits for the results of a batch; None where memory is full."""
        try:
            return self.start(task.tiles, task.kind)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        return None  # outside of the handler: its traceback holds the tensors

    def _results(self, task: Task, finish: Finish[T], tasks: deque[Task]) -> Iterator[T]:
        """The results of a batch, or none and a task to compute it again in float32."""
        found, finite = finish()
        if finite or task.kind == torch.float32:
            self.events.broken += 0 if finite else len(task.tiles)
            yield from found
        else:
            self.events.again += len(task.tiles)
            tasks.appendleft(Task(task.tiles, torch.float32))

    def _shrink(self, tasks: deque[Task]) -> None:
        """Replace the tasks by those of a smaller plan."""
        release(self.device)
        groups: dict[torch.dtype, Plan] = {}
        for kind in {task.kind: None for task in tasks}:
            batches = [task.tiles for task in tasks if task.kind == kind]
            groups[kind] = self.smaller(Plan([t for batch in batches for t in batch], max(map(len, batches))))
        tasks.clear()
        for kind, plan in groups.items():
            tasks.extend(Task(batch, kind) for batch in plan.batches)
            self.events.fitted = plan.size, plan.batch


@contextmanager
def _collector(overlapped: bool) -> Iterator[Callable[[Finish[T]], Finish[T]]]:
    """Runs what it is given, in a thread or at once, and returns what gives the result."""
    if overlapped:
        with ThreadPoolExecutor(1, "candidates") as pool:
            yield lambda finish: pool.submit(finish).result
        return

    def at_once(finish: Finish[T]) -> Finish[T]:
        result = finish()
        return lambda: result

    yield at_once
