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


def test_a_new_object_does_not_take_label_and_score_of_a_deleted_one(qtbot, done):
    shown = done.state.active()
    centres = [tuple(float(shown.columns[axis][row]) for axis in "zyx") for row in (0, -1)]
    for tool, place in (("delete", centres[0]), ("delete", centres[1]), ("add", centres[0])):
        done.corrections.tools.choose(tool)
        done.corrections.click(place)
        settled(qtbot, done)
    assert str(shown.difference()).endswith("1 added, 2 deleted, 0 changed")
    assert shown.columns["index"].tolist() == [2, 3, 4, 5, 7]
    assert np.isnan(shown.columns["score"]).tolist() == [False] * 4 + [True]


def test_an_object_that_is_painted_with_the_label_of_a_deleted_one_is_new(qtbot, done):
    shown = done.state.active()
    shown.delete([COUNT])
    free = np.argwhere(np.asarray(shown.volume()) == 0)[0]
    shown.layer.data_setitem(tuple(np.array([at]) for at in free), COUNT)  # napari's next free label
    shown.update_features()
    assert str(shown.difference()).endswith("1 added, 1 deleted, 0 changed")
    assert np.isnan(shown.columns["score"][-1])


@pytest.mark.parametrize("again", [False, True])
def test_undo_does_not_damage_the_labels_of_other_thresholds(qtbot, done, again):
    shown = done.state.active()
    shown.delete([1])
    shown.layer.undo()
    if again:
        shown.layer.redo()
        shown.volume()[...] = shown.result.objects(shown.frame).labels  # painted back by hand
    done.set_thresholds(0.8, 0.3)
    settled(qtbot, done)
    assert done.state.active() is shown
    shown.layer.undo()
    shown.layer.redo()
    assert not shown.corrected
