"""Two progress bars: one for all stages of a prediction, one for the tasks of the present stage."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anystar_torch.system.progress import bar

TITLES = {
    "sample": "choosing voxels",
    "intensities": "measuring intensities",
    "size": "estimating the size of objects",
    "plan": "planning",
    "coarse": "coarse pass",
    "candidates": "predicting",
    "suppression": "suppressing",
    "objects": "shaping objects",
    "visible": "drawing",
    "labels": "writing labels",
    "pyramid": "writing coarser levels",
    "table": "measuring objects",
}
"""What the bar of a stage says."""


class Bars:
    """Draws the bars while a ``with`` block runs, if the error stream is a terminal.

    Args:
        shown: False draws nothing.
        stages: number of stages.
    """

    def __init__(self, shown: bool, stages: int = 1) -> None:
        self._shown, self._stages = shown and sys.stderr.isatty(), stages
        self._progress: Any = None
        self._all: Any = None

    def __enter__(self) -> "Bars":
        if self._shown:
            from rich.console import Console
            from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

            columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TimeElapsedColumn())
            self._progress = Progress(
                *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
            )
            self._progress.start()
            self._all = self._progress.add_task("all stages", total=self._stages)
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    @contextmanager
    def stage(self, stage: str, total: int) -> Iterator[Callable[[int], None]]:
        """Draw the bar of a stage while the block runs.

        Args:
            stage: its name; what follows a point is not shown.
            total: number of its tasks.

        Yields:
            A function that takes the number of tasks that are done.
        """
        if self._progress is None:
            with bar(TITLES.get(stage.split(".")[0], stage), False) as tick:
                yield lambda done: tick(done, total)
            return
        progress = self._progress
        kind = stage.split(".")[0]
        own = progress.add_task(TITLES.get(kind, kind), total=total)
        yield lambda done: progress.update(own, completed=done)
        progress.remove_task(own)
        progress.advance(self._all)
