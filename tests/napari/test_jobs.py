"""Work in a thread that ends after the widget that started it."""

import threading
from functools import partial

import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="controls are tested with pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from qtpy.QtCore import QThreadPool

from anystar_torch.napari.views.jobs import Jobs, Orders
from tests.napari.pressing import WAIT


@pytest.mark.parametrize("kind", [Jobs, partial(Orders, newest=True)])
def test_work_that_ends_after_its_widget_is_dropped(qtbot, kind):
    jobs, started, may_end, shown = kind(), threading.Event(), threading.Event(), []

    def work(progress=None):
        started.set()
        assert may_end.wait(WAIT / 1000)
        return "result"

    with qtbot.capture_exceptions() as exceptions:
        (jobs.start if isinstance(jobs, Jobs) else jobs.order)(work, shown.append)
        qtbot.waitUntil(started.is_set, timeout=WAIT)
        with qtbot.waitSignal(jobs.destroyed, timeout=WAIT):
            jobs.deleteLater()
        may_end.set()
        qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=WAIT)
        qtbot.wait(100)  # the signals of the thread arrive
    assert not exceptions
    assert not shown


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("division by zero")])
@pytest.mark.parametrize("kind", [Jobs, partial(Orders, newest=False)])
def test_what_showing_a_result_raises_is_one_line(qtbot, kind, error):
    jobs, lines, shown = kind(), [], []

    def fail(_):
        raise error

    def begin(done):
        started = jobs.start if isinstance(jobs, Jobs) else jobs.order
        started(lambda *_: "result", done)

    jobs.failed.connect(lines.append)
    with qtbot.capture_exceptions() as exceptions:
        begin(fail)
        if isinstance(jobs, Jobs):
            qtbot.waitUntil(lambda: not jobs.running, timeout=WAIT)
        begin(shown.append)  # the work that comes next is done
        qtbot.waitUntil(lambda: bool(shown), timeout=WAIT)
    assert not exceptions
    assert len(lines) == 1
    assert ("out of memory" if isinstance(error, MemoryError) else "division by zero") in lines[0]
