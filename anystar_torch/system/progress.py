"""Progress bars on the error stream, so that output can be piped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Ignore progress.

    Args:
        done: number of parts that are done.
        total: number of all parts.
    """


@contextmanager
def bar(title: str, shown: bool = True) -> Iterator[Tick]:
    """Draw a progress bar while the block runs, if the error stream is a terminal.

    Args:
        title: text before the bar.
        shown: False draws nothing.

    Yields:
        A function ``tick(done, total)`` that moves the bar.
    """
    if not shown or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TimeElapsedColumn())
    # Output is not redirected, because it may go to a file while the bar is on the error stream.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=None)

        def tick(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield tick
