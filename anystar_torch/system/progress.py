"""Progress bars on the error stream, so that output can be piped, or reports to a program that shows progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

Tick = Callable[[int, int], None]

Listener = Callable[[str, int, int], None]
"""Called as ``listener(title, done, total)``. An exception that it raises ends the work."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reporting(listener: Listener) -> Iterator[None]:
    """Report progress to a function instead of drawing bars, while the block runs and in its thread.

    Args:
        listener: receives the title of a bar, the number of parts that are done, and that of all parts.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def silent(done: int, total: int) -> None:
    """Ignore progress.

    Args:
        done: number of parts that are done.
        total: number of all parts.
    """


@contextmanager
def bar(title: str, shown: bool = True) -> Iterator[Tick]:
    """Draw a progress bar while the block runs, if the error stream is a terminal.

    Under :func:`reporting` its function is called instead, also with ``shown=False``.

    Args:
        title: text before the bar.
        shown: False draws nothing.

    Yields:
        A function ``tick(done, total)`` that moves the bar.
    """
    listener = _listener.get()
    if listener is not None:
        yield partial(listener, title)
        return
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
