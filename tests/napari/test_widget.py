"""Every control of the widget, without a screen: Qt's platform is "offscreen", the viewer has no canvas."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)


from anystar_torch import io
from anystar_torch.napari.models import SHIPPED
from anystar_torch.napari.state import PREVIEW
from anystar_torch.napari.views import size_box
from tests.inference.scenes import RADIUS
from tests.napari.pressing import COUNT, WAIT, finished, objects, press, settled


def test_run_shows_labels_thresholds_and_the_number_of_objects(done):
    shown = done.state.active()
    assert shown.layer.name == "balls objects"
    assert objects(done) == COUNT
    assert done.thresholds_box.count.text().startswith(f"{COUNT} objects")
    assert done.thresholds_box.values == (0.6, 0.3)
    assert done.thresholds_box.histogram.counts.sum() == len(shown.result.live[0].candidates.scores)
    assert not done.run_box.cancel.isEnabled()


def test_the_preview_is_replaced_and_removed_by_the_run(qtbot, widget, viewer):
    for _ in range(2):
        press(qtbot, widget.run_box.preview)
        finished(qtbot, widget)
        assert [layer.name for layer in viewer.layers] == ["balls", PREVIEW]
    assert "objects in the part in view" in widget.run_box.about.text()
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert PREVIEW not in viewer.layers


def test_a_cancelled_run_leaves_nothing(qtbot, widget, viewer, network):
    hook = network.network.register_forward_pre_hook(lambda *_: widget.jobs.cancel())
    try:
        press(qtbot, widget.run_box.run)
        press(qtbot, widget.run_box.cancel)
        finished(qtbot, widget)
    finally:
        hook.remove()
    assert widget.run_box.about.text().startswith("cancelled")
    assert [layer.name for layer in viewer.layers] == ["balls"]
    assert widget.run_box.run.isEnabled()


def test_without_a_volume_one_line_says_what_to_do(qtbot, widget, viewer):
    viewer.layers.clear()
    for button in (widget.run_box.run, widget.run_box.preview):
        press(qtbot, button)
        assert "open a volume" in widget.run_box.about.text()
    press(qtbot, widget.size_box.estimate)
    press(qtbot, widget.size_box.draw)
    assert "open a volume" in widget.size_box.about.text()


def test_an_error_of_the_work_is_one_line(qtbot, widget, viewer, monkeypatch):
    monkeypatch.setattr(type(widget.state.segmenter()), "candidates", lambda *_: 1 / 0)
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert "division by zero" in widget.run_box.about.text()
    assert widget.run_box.run.isEnabled()


def test_a_result_without_memory_for_its_layer_is_one_line(qtbot, widget, viewer, monkeypatch):
    def fail(*_):
        raise MemoryError

    press(qtbot, widget.run_box.preview)
    finished(qtbot, widget)
    monkeypatch.setattr(widget.state, "add_result", fail)
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert "out of memory" in widget.run_box.about.text()
    assert [layer.name for layer in viewer.layers] == ["balls", PREVIEW]
    assert widget.run_box.run.isEnabled()


def test_sliders_change_the_labels_and_features_follow(qtbot, done):
    done.thresholds_box.prob.slider.setValue(95)
    settled(qtbot, done)
    expected = done.state.active().result.live[0].at(0.95, 0.3)
    assert np.array_equal(done.state.active().volume(), expected.labels)
    assert done.thresholds_box.count.text().startswith(f"{len(expected)} objects")
    assert done.thresholds_box.histogram.threshold == 0.95
    qtbot.waitUntil(lambda: len(done.state.active().layer.features) == len(expected) + 1, timeout=WAIT)
    done.thresholds_box.prob.spin.setValue(0.5)
    done.thresholds_box.nms.slider.setValue(0)
    settled(qtbot, done)
    assert done.state.active().result.thresholds == (0.5, 0.0)


@pytest.mark.long
def test_a_slider_keeps_corrected_labels_in_their_own_layer(qtbot, done, viewer):
    done.state.active().delete([1])
    done.thresholds_box.nms.slider.setValue(40)
    settled(qtbot, done)
    assert sorted(layer.name for layer in viewer.layers) == [
        "balls",
        "balls objects",
        "balls objects (corrected)",
    ]
    assert objects(done) == COUNT
    viewer.layers.selection.active = viewer.layers["balls objects (corrected)"]
    assert objects(done) == COUNT - 1


def test_the_size_is_estimated_on_request(qtbot, widget):
    widget.size_box.diameter.setValue(0)
    assert widget.state.diameter is None
    press(qtbot, widget.size_box.estimate)
    finished(qtbot, widget)
    expected = widget.state.segmenter().size(widget.state.target())
    assert widget.state.diameter == expected.diameter
    assert widget.size_box.diameter.value() == pytest.approx(expected.diameter, abs=0.06)
    assert "agree" in widget.size_box.about.text()


@pytest.mark.long
@pytest.mark.parametrize("tool", ["line", "ball"])
def test_a_drawn_shape_sets_the_size(qtbot, widget, viewer, tool):
    viewer.layers["balls"].scale = (2, 0.5, 0.5)
    widget.size_box.tool.setCurrentText(tool)
    press(qtbot, widget.size_box.draw)
    layer = viewer.layers[size_box.DRAWING]
    assert str(layer.mode) == {"line": "add_line", "ball": "add_ellipse"}[tool]
    if tool == "line":
        layer.add([[4, 0, 0], [4, 6, 8]], shape_type="line")
    else:
        layer.add([[4, 0, 0], [4, 0, 10], [4, 10, 10], [4, 10, 0]], shape_type="ellipse")
    assert widget.state.diameter == pytest.approx(10)
    assert widget.size_box.diameter.value() == pytest.approx(10)


def test_the_ball_follows_the_cursor_and_has_the_size(widget, viewer):
    widget.size_box.ball.setChecked(True)
    layer = viewer.layers[size_box.BALL]
    assert layer.size[0] == 2 * RADIUS
    for callback in viewer.mouse_move_callbacks:
        if callback == widget.size_box._follow:
            callback(viewer, SimpleNamespace(position=(3.0, 5.0, 7.0)))
    assert layer.data[0] == pytest.approx((3, 5, 7))
    widget.size_box.diameter.setValue(20)
    assert layer.size[0] == 20
    widget.size_box.ball.setChecked(False)
    assert size_box.BALL not in viewer.layers
    assert widget.size_box._follow not in viewer.mouse_move_callbacks


def test_channel_time_and_voxel_size_are_chosen(qtbot, widget, viewer, scene):
    data = np.zeros((2, 3, *scene[0].shape), np.float32)
    data[1, 2] = scene[0]
    layer = viewer.add_image(data, name="series", axis_labels=("t", "c", "z", "y", "x"))
    widget.image_box.layer.setCurrentText("series")
    assert widget.state.image is layer
    widget.image_box.channel.setValue(2)
    widget.image_box.all_frames.setChecked(True)
    for field, value in zip(widget.image_box.spacing, (0.5, 0.5, 0.5), strict=True):
        field.setValue(value)
    widget.image_box.spacing[0].editingFinished.emit()
    assert layer.scale.tolist() == [1, 1, 0.5, 0.5, 0.5]
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    shown = widget.state.active()
    assert [int(shown.volume(frame).max()) for frame in (0, 1)] == [0, COUNT]
    viewer.dims.set_point(0, 1)
    assert widget.thresholds_box.count.text().startswith(f"{COUNT} objects")
    widget.thresholds_box.prob.slider.setValue(95)
    settled(qtbot, widget)
    viewer.dims.set_point(0, 0)
    settled(qtbot, widget)
    assert not shown.needs(0)


def test_the_first_axis_without_a_name_is_chosen(widget, viewer, scene):
    layer = viewer.add_image(np.stack([scene[0], scene[0]]), name="four")
    widget.image_box.layer.setCurrentText("four")
    widget.image_box.leading.setCurrentText("channels")
    assert widget.state.volume().letters == "CZYX"
    assert widget.image_box.channel.maximum() == 1
    assert layer.ndim == 4


def test_a_missing_voxel_size_is_asked_for(widget):
    assert "unknown: enter it" in widget.image_box.about.text()
    widget.image_box.spacing[0].setValue(2)
    widget.image_box.spacing[0].editingFinished.emit()  # of three fields two are still empty
    assert widget.state.volume().spacing == (None, "")


@pytest.mark.long
def test_objects_are_coloured_filtered_and_deleted(qtbot, done):
    box, layer = done.result_box, done.state.active().layer
    box.colour.setCurrentText("volume")
    assert set(layer.colormap.color_dict) >= set(range(1, COUNT + 1))
    box.feature.setCurrentText("x")
    box.low.setValue(20)
    x = done.state.active().columns["x"]
    hidden = np.flatnonzero(x < 20) + 1
    assert 0 < len(hidden) < COUNT
    assert all(layer.colormap.color_dict[label][3] == 0 for label in hidden)
    press(qtbot, box.remove)
    assert objects(done) == COUNT - len(hidden)
    assert len(layer.features) == COUNT - len(hidden) + 1


def test_centres_become_points(qtbot, done, viewer):
    press(qtbot, done.result_box.centres)
    points = viewer.layers["balls objects centres"]
    assert len(points.data) == COUNT
    assert "score" in points.features


def test_the_result_is_saved_where_the_dialog_says(qtbot, done, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        done.result_box, "ask_path", lambda default: asked.append(default) or str(tmp_path / "a.tif")
    )
    press(qtbot, done.result_box.save)
    assert asked == [Path("balls.labels.tif")]
    assert np.array_equal(io.read_labels(tmp_path / "a.tif").array, done.state.active().volume())
    monkeypatch.setattr(done.result_box, "ask_path", lambda default: str(tmp_path / "no" / "a.tif"))
    press(qtbot, done.result_box.save)
    assert "no" in done.result_box.about.text()


def test_a_model_folder_is_chosen_and_a_wrong_one_refused(qtbot, widget, network, tmp_path, monkeypatch):
    box = widget.model_box
    folder = tmp_path / "mine"
    folder.mkdir()
    widget.state.models._loaded[str(folder)] = network
    monkeypatch.setattr(box, "ask_folder", lambda: str(folder))
    box.model.activated.emit(box.model.findText("folder..."))
    assert widget.state.model == str(folder)
    assert widget.state.models.recent == [str(folder)]
    monkeypatch.setattr(box, "ask_folder", lambda: str(tmp_path / "none"))
    box.model.activated.emit(box.model.findText("folder..."))
    assert "no model folder" in box.problem.text()
    assert widget.state.model == str(folder)
    box.model.activated.emit(box.model.findText(SHIPPED))
    assert widget.state.model == SHIPPED


def test_a_device_that_is_not_there_is_one_line(qtbot, widget):
    widget.model_box.device.setCurrentText("mps")
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert "mps" in widget.run_box.about.text()


def test_a_removed_result_disables_its_controls(done, viewer):
    viewer.layers.remove("balls objects")
    assert done.state.active() is None
    assert not done.thresholds_box.isEnabled()
    assert not done.corrections.box.isEnabled()
