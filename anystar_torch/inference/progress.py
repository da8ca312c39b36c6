"""Progress bars for long work, on the error stream, so that output can be piped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report to nobody."""


@contextmanager
def bar(title: str, shown: bool = True) -> Iterator[Tick]:
    """A bar that a callable moves: ``tick(done, total)``; nothing is drawn where ``shown`` is False."""
    if not shown:
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def tick(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield tick
