"""Thresholds of previews and of runs beyond memory: those of a result of the same model and image, or of the model."""

from dataclasses import replace

import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from anystar_torch.inference.predictor import AnyStar
from anystar_torch.napari.segmenter import Segmenter
from anystar_torch.napari.views import widget as module
from tests.inference.scenes import Sees, config
from tests.napari.pressing import finished, press, settled

MOVED = (0.45, 0.2)  # of the sliders
OWN = (0.6, 0.3)  # of the model


@pytest.fixture
def used(qtbot, done, tmp_path, monkeypatch):
    """Presses a button, and returns the thresholds that it computes with; the sliders were moved before."""
    done.thresholds_box.prob.spin.setValue(MOVED[0])
    done.thresholds_box.nms.spin.setValue(MOVED[1])
    settled(qtbot, done)
    seen = []
    preview = Segmenter.preview

    def watched(self, target, diameter, view, thresholds):
        seen.append(thresholds)
        return preview(self, target, diameter, view, thresholds)

    def large(segmenter, targets, path, diameter, thresholds):
        seen.append(thresholds)
        raise ValueError("this is no test of it")

    monkeypatch.setattr(Segmenter, "preview", watched)
    monkeypatch.setattr(module, "segment_large", large)
    monkeypatch.setattr(module, "too_large", lambda *_: True)
    monkeypatch.setattr(done.run_box, "ask_folder", lambda name: str(tmp_path / name))

    def pressed(name):
        press(qtbot, getattr(done.run_box, name))
        finished(qtbot, done)
        return seen[-1]

    return pressed


def test_they_are_those_of_a_result_of_the_same_model_and_image(used):
    assert used("preview") == used("run") == MOVED


def test_they_are_not_those_of_another_image(done, viewer, scene, used):
    viewer.add_image(scene[0] * 2, name="other", axis_labels=("z", "y", "x"))
    done.image_box.layer.setCurrentText("other")
    assert used("preview") == used("run") == OWN


def test_they_are_not_those_of_another_model(done, used):
    own = replace(config(), prob_thresh=0.7, nms_thresh=0.5)
    done.state.models._loaded["mine"] = AnyStar(Sees().eval(), own, shape_averaging=False, coarse_pass=False)
    done.state.model = "mine"
    assert used("preview") == used("run") == (0.7, 0.5)


def test_a_model_that_cannot_be_read_is_one_line(done, used, tmp_path):
    done.state.model = str(tmp_path / "none")
    with pytest.raises(IndexError):  # nothing is computed
        used("run")
    assert "none" in done.run_box.about.text()
