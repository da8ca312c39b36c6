"""Time points of a series: a result follows its own layer, and work keeps the time point of its request."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from anystar_torch.napari.state import PREVIEW
from anystar_torch.napari.views.correction_box import IN_VIEW
from tests.napari.pressing import COUNT, finished, press, settled


@pytest.fixture
def series(widget, viewer, scene):
    """The widget over a series of two time points, of which all are segmented by a run."""
    viewer.layers.clear()
    data = np.stack([scene[0], 0.9 * scene[0]])
    viewer.add_image(data, name="series", axis_labels=("t", "z", "y", "x"))
    widget.state.all_frames = True
    viewer.dims.set_point(0, 0)
    return widget


@pytest.fixture
def segmented(qtbot, series):
    """The widget after a run of all time points."""
    press(qtbot, series.run_box.run)
    finished(qtbot, series)
    return series


def test_a_result_takes_its_time_point_from_its_own_layer(qtbot, segmented, viewer, scene):
    shown = segmented.state.active()
    viewer.add_image(scene[0][:, :20, :20], name="other", axis_labels=("z", "y", "x"))
    segmented.image_box.layer.setCurrentText("other")
    viewer.layers.selection.active = shown.layer
    viewer.dims.set_point(1, 20)
    assert shown.frame == 0
    viewer.dims.set_point(0, 1)
    assert shown.frame == 1
    viewer.dims.set_point(0, 0)
    shown.delete([1])
    segmented.corrections.box.region.setCurrentText(IN_VIEW)
    box = segmented.corrections.checked(shown).box
    assert [part.stop - part.start for part in box][1:] == list(scene[0].shape[1:])


def test_a_result_works_without_its_image(qtbot, segmented, viewer):
    shown = segmented.state.active()
    viewer.layers.remove("series")
    viewer.dims.set_point(0, 1)
    assert shown.frame == 1
    segmented.thresholds_box.prob.spin.setValue(0.7)
    settled(qtbot, segmented)
    assert shown.result.thresholds == (0.7, 0.3)
    shown.delete([1])
    segmented.corrections.box.region.setCurrentText(IN_VIEW)
    assert segmented.corrections.checked(shown).box is not None


def test_a_run_is_shown_where_its_image_was_removed_meanwhile(qtbot, series, viewer):
    press(qtbot, series.run_box.run)
    viewer.layers.remove("series")
    finished(qtbot, series)
    assert [layer.name for layer in viewer.layers] == ["series objects"]
    assert series.thresholds_box.isEnabled()


def test_a_preview_keeps_its_time_point(qtbot, series, viewer):
    viewer.dims.set_point(1, 9)
    press(qtbot, series.run_box.preview)
    viewer.dims.set_point(0, 1)
    finished(qtbot, series)
    layer = viewer.layers[PREVIEW]
    assert (len(layer.data), layer.translate[0]) == (1, 0)
    assert layer.data.any()


def test_an_added_object_keeps_its_time_point(qtbot, segmented, viewer):
    shown = segmented.state.active()
    place = tuple(float(p) for p in np.rint(shown.result.objects(0).points[0]))
    shown.delete([1])
    segmented.corrections.tools.choose("add")
    segmented.corrections.click((0.0, *place))
    viewer.dims.set_point(0, 1)
    settled(qtbot, segmented)
    assert [len(np.unique(shown.volume(frame))) - 1 for frame in (0, 1)] == [COUNT, COUNT]
    assert not shown.difference(1)
    assert shown.frame == 1


def test_objects_at_new_thresholds_do_not_change_the_present_time_point(qtbot, segmented, viewer):
    shown = segmented.state.active()
    segmented.thresholds_box.prob.spin.setValue(0.95)
    viewer.dims.set_point(0, 1)
    settled(qtbot, segmented)
    assert shown.frame == 1
    assert not shown.needs(1)


def test_the_first_move_after_a_correction_shows_the_new_thresholds(qtbot, done):
    done.state.active().delete([1])
    done.thresholds_box.prob.spin.setValue(0.8)
    settled(qtbot, done)
    box = done.thresholds_box
    assert done.state.active().result.thresholds == box.values == (0.8, 0.3)
    assert (box.prob.slider.value(), box.histogram.threshold) == (80, 0.8)
