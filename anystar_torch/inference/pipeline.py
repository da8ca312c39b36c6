"""The order of the work on tiles: what is launched when, what is computed again, what is cut smaller.

On a GPU the host launches the next batch of tiles before the candidates of this one have arrived. A thread waits for
them meanwhile and copies them. The tiles that are still to come are returned with every batch of results. From them
:class:`anystar_torch.inference.early_suppression.EarlySuppression` knows which candidates later ones cannot change.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from anystar_torch.arrays import Triple
from anystar_torch.inference.plan import Plan
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.warnings import (
    MemoryWarning,
    NonFiniteWarning,
    PrecisionWarning,
    PredictionWarning,
)
from anystar_torch.system.device import out_of_memory, release
from anystar_torch.system.progress import Tick
from anystar_torch.system.wording import number_of

T = TypeVar("T")
Finish = Callable[[], tuple[list[T], bool]]
"""Waits for the result of each tile, and returns whether all predictions are finite."""
Start = Callable[[tuple[Tile, ...], torch.dtype], Finish[T]]
"""Launches the work on a batch of tiles in a precision."""


@dataclass
class Events:
    """What did not go as planned in a prediction.

    Attributes:
        reduced: size and number of the tiles that memory held in the end; None if the planned ones fitted.
        recomputed: number of tiles that were not finite and were computed again in float32.
        non_finite: number of tiles that are not finite in float32 either.
    """

    reduced: tuple[Triple, int] | None = None
    recomputed: int = 0
    non_finite: int = 0

    def warnings(self, precision: torch.dtype) -> tuple[PredictionWarning, ...]:
        """One warning for each kind of event.

        Args:
            precision: number type of the convolutions.
        """
        warnings: list[PredictionWarning] = []
        if self.reduced is not None:
            (z, y, x), batch = self.reduced
            tiles = f"{number_of(batch, 'tile')} of {z} x {y} x {x} voxels"
            message = f"the memory of the device was full: the prediction went on with {tiles} at once"
            warnings.append(MemoryWarning(message, ("max_memory",)))
        if self.recomputed:
            name = str(precision).removeprefix("torch.")
            warnings.append(
                PrecisionWarning(
                    f"the network's output was not finite in {name}: {number_of(self.recomputed, 'tile')} "
                    "computed in float32"
                )
            )
        if self.non_finite:
            warnings.append(
                NonFiniteWarning(
                    f"the network's output is not finite in {number_of(self.non_finite, 'tile')}, "
                    "and objects are missing there: check the weights of the model"
                )
            )
        return tuple(warnings)


@dataclass(frozen=True)
class Task:
    """A batch of tiles to be computed.

    Attributes:
        tiles: tiles of one size.
        precision: number type of the convolutions.
    """

    tiles: tuple[Tile, ...]
    precision: torch.dtype


@dataclass(frozen=True)
class Pipeline(Generic[T]):
    """Runs the tiles of a plan.

    Attributes:
        start: launches a batch.
        smaller: a plan for the same voxels that takes less memory; raises ValueError if there is none.
        device: device whose cached memory is released before smaller tiles are tried.
        overlapped: whether a batch is launched before the results of the previous one have arrived.
        events: where deviations from the plan are counted.
    """

    start: Start[T]
    smaller: Callable[[Plan], Plan]
    device: torch.device
    overlapped: bool
    events: Events

    def run(self, plan: Plan, precision: torch.dtype, tick: Tick) -> Iterator[tuple[list[T], list[Tile]]]:
        """The results of all tiles, batch by batch in the order in which they are finished.

        Each item holds the results of a batch, one per tile, and the tiles whose results come later.

        Args:
            plan: the tiles.
            precision: number type of the convolutions in the first attempt.
            tick: receives the number of batches that are done, and that of all batches.
        """
        tasks = deque(Task(batch, precision) for batch in plan.batches)
        waiting: tuple[Task, Finish[T]] | None = None
        done = 0
        with _collector(self.overlapped) as collect:
            while tasks or waiting:
                tick(done, done + len(tasks) + (waiting is not None))
                finish = self._launch(tasks[0]) if tasks else None
                full = bool(tasks) and finish is None
                task = tasks.popleft() if finish is not None else None
                if waiting is not None:
                    found = self._results(*waiting, tasks)
                    yield found, [tile for later in (task, *tasks) if later for tile in later.tiles]
                    waiting, done = None, done + 1
                if task is not None and finish is not None:
                    waiting = task, collect(finish)
                elif full:
                    self._use_smaller_tiles(tasks)

    def _launch(self, task: Task) -> Finish[T] | None:
        """The function that waits for the results of a batch; None if memory is full."""
        try:
            return self.start(task.tiles, task.precision)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        return None  # outside of the handler: its traceback holds the tensors

    def _results(self, task: Task, finish: Finish[T], tasks: deque[Task]) -> list[T]:
        """The results of a batch. If they are not finite: none, and a new task to compute the batch in float32."""
        found, finite = finish()
        if finite or task.precision == torch.float32:
            self.events.non_finite += 0 if finite else len(task.tiles)
            return found
        self.events.recomputed += len(task.tiles)
        tasks.appendleft(Task(task.tiles, torch.float32))
        return []

    def _use_smaller_tiles(self, tasks: deque[Task]) -> None:
        """Replace the tasks by those of a smaller plan."""
        release(self.device)
        plans: dict[torch.dtype, Plan] = {}
        for precision in {task.precision: None for task in tasks}:
            batches = [task.tiles for task in tasks if task.precision == precision]
            tiles = [tile for batch in batches for tile in batch]
            plans[precision] = self.smaller(Plan(tiles, max(map(len, batches))))
        tasks.clear()
        for precision, plan in plans.items():
            tasks.extend(Task(batch, precision) for batch in plan.batches)
            self.events.reduced = plan.size, plan.batch


@contextmanager
def _collector(overlapped: bool) -> Iterator[Callable[[Finish[T]], Finish[T]]]:
    """Runs a function in a thread or at once, and returns a function that gives its result."""
    if overlapped:
        with ThreadPoolExecutor(1, "candidates") as pool:
            yield lambda finish: pool.submit(finish).result
        return

    def at_once(finish: Finish[T]) -> Finish[T]:
        result = finish()
        return lambda: result

    yield at_once
