"""Progress bars for long work, on the error stream, so that output can be piped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report to nobody."""


@contextmanager
def bar(title: str, shown: bool = True) -> Iterator[Tick]:
    """A bar that a callable moves: ``tick(done, total)``; nothing is drawn off a terminal or with ``shown`` False."""
    if not shown or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TimeElapsedColumn())
    # Output is not redirected: it may go to a file, and the bar's stream is another.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=None)

        def tick(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield tick
