"""Work in threads of napari, one piece at a time, with progress, cancellation and errors as one line."""

from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from torch import nn

from anystar_torch.cli.messages import line_of
from anystar_torch.napari.background import CancelledError, Progress, run

_INTERVAL = 100  # ms between two readings of the progress

Work = Callable[[Progress], Any]
Done = Callable[[Any], None]


class Jobs(QObject):
    """One piece of work at a time.

    Signals:
        busy: whether work is going on.
        progressed: title, number of parts that are done, and that of all parts (0 while it is unknown).
        failed: one line on an error.
        cancelled: the user ended the work.
    """

    busy = Signal(bool)
    progressed = Signal(str, int, int)
    failed = Signal(str)
    cancelled = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._progress: Progress | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL)
        self._timer.timeout.connect(self._report)

    @property
    def running(self) -> bool:
        """Whether work is going on."""
        return self._progress is not None

    def start(self, work: Work, done: Done, network: nn.Module | None = None) -> bool:
        """Start some work in a thread, if none is going on.

        Args:
            work: receives the progress; its result goes to ``done``.
            done: called in the thread of the viewer.
            network: the network that the work applies, so that it can end within a tile.

        Returns:
            Whether it was started.
        """
        if self.running:
            return False
        progress = self._progress = Progress()

        def safe() -> tuple[Any, Exception | None]:
            try:
                return run(lambda: work(progress), progress, network), None
            except Exception as error:  # an exception in a thread of Qt ends the program
                return None, error

        worker = create_worker(safe)
        worker.returned.connect(lambda outcome: self._finish(progress, done, *outcome))
        self._timer.start()
        self.busy.emit(True)
        worker.start()
        return True

    def cancel(self) -> None:
        """End the work at its next step."""
        if self._progress is not None:
            self._progress.cancel()
            self.progressed.emit("cancelling", 0, 0)

    def _finish(self, progress: Progress, done: Done, result: Any, error: Exception | None) -> None:
        if not isalive(self):  # the widget was closed while work went on
            return
        self._timer.stop()
        self._progress = None
        self.busy.emit(False)
        if progress.cancelled:
            self.cancelled.emit()
            return
        error = error or attempt(done, result)
        if error is not None and not isinstance(error, CancelledError):
            self.failed.emit(line_of(error))

    def _report(self) -> None:
        if self._progress is not None and not self._progress.cancelled:
            self.progressed.emit(self._progress.title, self._progress.done, self._progress.total)


class Orders(QObject):
    """Short pieces of work, one after the other.

    Args:
        newest: whether only the newest order counts, and those before it are dropped; else all are done.
        parent: of Qt.
    """

    failed = Signal(str)

    def __init__(self, newest: bool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.newest = newest
        self.running = False
        self._waiting: list[tuple[Callable[[], Any], Done]] = []

    def order(self, work: Callable[[], Any], done: Done) -> None:
        """Do some work in a thread, after that which is going on.

        Args:
            work: its result goes to ``done``.
            done: called in the thread of the viewer.
        """
        if self.newest:
            self._waiting.clear()
        self._waiting.append((work, done))
        if not self.running:
            self._start()

    def _start(self) -> None:
        if not self._waiting:
            return
        work, done = self._waiting.pop(0)
        self.running = True

        def safe() -> tuple[Any, Exception | None]:
            try:
                return work(), None
            except Exception as error:  # an exception in a thread of Qt ends the program
                return None, error

        def finish(outcome: tuple[Any, Exception | None]) -> None:
            if not isalive(self):
                return
            self.running = False
            result, error = outcome
            if error is None and not (self.newest and self._waiting):
                error = attempt(done, result)
            if error is not None:
                self.failed.emit(line_of(error))
            self._start()

        worker = create_worker(safe)
        worker.returned.connect(finish)
        worker.start()


def attempt(done: Done, result: Any) -> Exception | None:
    """Pass on a result, and return the error that this gave. An exception would stop the work that waits.

    Args:
        done: receives the result.
        result: of some work.
    """
    try:
        done(result)
    except Exception as error:  # such as MemoryError: the layer of a result needs memory too
        return error
    return None
