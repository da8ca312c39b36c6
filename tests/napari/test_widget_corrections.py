"""Correcting by clicks, and learning from it, without a screen."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from anystar_torch.napari.views import corrections
from anystar_torch.napari.views.correction_box import IN_VIEW, WHOLE
from tests.napari.pressing import COUNT, WAIT, objects, press, settled


def click(widget, viewer, position, moved=False):
    """Press and release the mouse, as napari's canvas calls the callback."""
    event = SimpleNamespace(type="mouse_press", position=position, dims_displayed=(1, 2))
    drag = widget.corrections.on_drag(viewer, event)
    if next(drag, "end") == "end":
        return
    for kind in ["mouse_move"] * moved + ["mouse_release"]:
        event.type = kind
        next(drag, None)


def test_clicks_delete_add_and_split(qtbot, done, viewer):
    box, shown = done.corrections.box, done.state.active()
    place = tuple(float(p) for p in np.rint(shown.result.objects(0).points[0]))
    click(done, viewer, place)
    assert objects(done) == COUNT  # no tool is taken
    press(qtbot, box.tools["delete"])
    click(done, viewer, place, moved=True)
    assert objects(done) == COUNT  # a drag moves the camera
    click(done, viewer, place)
    settled(qtbot, done)
    assert objects(done) == COUNT - 1
    click(done, viewer, place)
    assert "click on an object" in box.about.text()
    press(qtbot, box.tools["add"])
    assert not box.tools["delete"].isChecked()
    click(done, viewer, place)
    settled(qtbot, done)
    assert objects(done) == COUNT
    press(qtbot, box.tools["split"])
    z, y, x = place
    click(done, viewer, (z, y, x - 3))
    assert "other part" in box.about.text()
    click(done, viewer, (z, y, x + 3))
    settled(qtbot, done)
    assert objects(done) == COUNT + 1
    box.release()
    assert done.corrections.tools.tool is None


def test_fine_tuning_needs_corrections_and_uses_its_model(qtbot, done, network, tmp_path, monkeypatch):
    box = done.corrections.box
    done.corrections.runs = tmp_path / "runs"
    press(qtbot, box.fine_tune)
    assert "correct some objects first" in box.training.text()
    seen = []

    def words(entry, folder, model, minutes, options):
        seen.append((entry, minutes))
        (folder / "model").mkdir()
        done.state.models._loaded[str(folder / "model")] = network
        return [sys.executable, "-c", "pass"]

    monkeypatch.setattr(corrections, "command", words)
    done.state.active().delete([1])
    for region in (IN_VIEW, WHOLE):
        box.region.setCurrentText(region)
        assert (done.corrections.checked(done.state.active()).box is None) == (region == WHOLE)
    box.region.setCurrentIndex(0)
    box.minutes.setValue(2)
    press(qtbot, box.fine_tune)
    assert not box.fine_tune.isEnabled()
    qtbot.waitUntil(lambda: not done.corrections.training.running, timeout=WAIT)
    assert seen[0][1] == 2
    assert "boxes:" in seen[0][0]
    assert done.state.model.endswith("model")
    assert "run it" in box.training.text()


def test_fine_tuning_is_cancelled(qtbot, done, tmp_path, monkeypatch):
    done.corrections.runs = tmp_path
    monkeypatch.setattr(
        corrections, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(99)"]
    )
    done.state.active().delete([1])
    press(qtbot, done.corrections.box.fine_tune)
    press(qtbot, done.corrections.box.cancel)
    qtbot.waitUntil(lambda: not done.corrections.training.running, timeout=WAIT)
    assert "ended" in done.corrections.box.training.text()
