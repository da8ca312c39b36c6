"""Corrections that are made while the objects at new thresholds are still being computed."""

import threading

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from anystar_torch.inference.live import LiveObjects
from tests.napari.pressing import COUNT, WAIT, finished, objects, press, settled


@pytest.fixture
def held(monkeypatch):
    """Two events: objects are being computed in the background, and they may be finished."""
    started, may_end, compute = threading.Event(), threading.Event(), LiveObjects.at

    def slow(self, *thresholds):
        if threading.current_thread() is not threading.main_thread():
            started.set()
            assert may_end.wait(WAIT / 1000)
        return compute(self, *thresholds)

    monkeypatch.setattr(LiveObjects, "at", slow)
    yield started, may_end
    may_end.set()


def test_a_slider_keeps_what_is_corrected_while_it_computes(qtbot, done, viewer, held):
    started, may_end = held
    shown = done.state.active()
    done.thresholds_box.prob.spin.setValue(0.8)
    qtbot.waitUntil(started.is_set, timeout=WAIT)
    shown.delete([1])
    corrected = np.array(shown.volume())
    may_end.set()
    settled(qtbot, done)
    assert np.array_equal(shown.volume(), corrected)
    assert shown.difference().deleted == 1
    assert shown.layer.name == "balls objects (corrected)"
    assert shown.result.thresholds == (0.6, 0.3)  # those of its labels
    assert shown.layer.features["score"].notna().sum() == COUNT - 1
    new = done.state.active()
    assert new is not shown
    assert new.result.thresholds == done.thresholds_box.values == (0.8, 0.3)
    assert np.array_equal(new.volume(), new.result.live[0].at(0.8, 0.3).labels)


def test_a_slider_that_moves_on_keeps_what_was_corrected_meanwhile(qtbot, done, held):
    started, may_end = held
    shown = done.state.active()
    done.thresholds_box.prob.spin.setValue(0.8)
    qtbot.waitUntil(started.is_set, timeout=WAIT)
    shown.delete([1])
    done.thresholds_box.prob.spin.setValue(0.7)
    may_end.set()
    settled(qtbot, done)
    assert shown.difference().deleted == 1
    assert shown.result.thresholds == (0.6, 0.3)
    assert done.state.active().result.thresholds == done.thresholds_box.values == (0.7, 0.3)


def test_a_time_point_keeps_what_is_corrected_before_it_is_shown_anew(qtbot, widget, viewer, scene, held):
    started, may_end = held
    viewer.layers.clear()
    viewer.add_image(np.stack([scene[0], 0.9 * scene[0]]), name="series", axis_labels=("t", "z", "y", "x"))
    widget.state.all_frames = True
    viewer.dims.set_point(0, 0)
    may_end.set()
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    widget.thresholds_box.prob.spin.setValue(0.7)
    settled(qtbot, widget)
    shown = widget.state.active()
    started.clear()
    may_end.clear()
    viewer.dims.set_point(0, 1)
    qtbot.waitUntil(started.is_set, timeout=WAIT)
    shown.delete([1])
    may_end.set()
    settled(qtbot, widget)
    assert widget.state.active() is shown
    assert objects(widget) == COUNT - 1
    assert shown.needs(1)
