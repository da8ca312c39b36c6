"""What the user does to image layers and to the panel is followed by the widget."""

import gc
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from qtpy.QtWidgets import QDockWidget

from tests.napari.pressing import WAIT, finished, press, settled


class Voxels(np.ndarray):
    """An array to which weak references can be made."""


def test_a_renamed_layer_can_be_chosen(widget, viewer, scene):
    box = widget.image_box.layer
    other = viewer.add_image(2 * scene[0], name="other")
    viewer.layers["balls"].name = "cells"
    assert [box.itemText(i) for i in range(box.count())] == ["cells", "other"]
    box.setCurrentText("other")
    assert widget.state.image is other
    box.setCurrentText("cells")
    assert widget.state.image is viewer.layers["cells"]


def test_a_new_voxel_size_and_new_names_of_axes_are_shown(qtbot, widget, viewer):
    layer = viewer.layers["balls"]
    layer.units = ("micrometer",) * 3
    layer.scale = (2, 0.5, 0.5)
    assert [field.value() for field in widget.image_box.spacing] == [2, 0.5, 0.5]
    layer.axis_labels = ("t", "y", "x")
    assert "axes t, y, x" in widget.image_box.about.text()
    press(qtbot, widget.run_box.run)
    assert not widget.jobs.running
    assert "axes t, y, x" in widget.run_box.about.text()
    layer.axis_labels = ("z", "y", "x")
    assert "zyx, 24 x 40 x 48 voxels" in widget.image_box.about.text()


@pytest.mark.parametrize("removed", ["image and result", "image"])
def test_the_memory_of_removed_layers_is_released(qtbot, widget, viewer, scene, removed):
    viewer.layers.clear()
    layer = viewer.add_image(scene[0].view(Voxels), name="balls")
    voxels = weakref.ref(layer.data)
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    viewer.layers.remove(layer)
    del layer
    if removed == "image and result":
        viewer.layers.clear()
        qtbot.waitUntil(lambda: gc.collect() >= 0 and voxels() is None, timeout=WAIT)  # the thread ends too
    else:
        gc.collect()
        assert voxels() is not None  # a result is saved with its image


def test_a_closed_panel_ends_its_work_and_takes_no_clicks(qtbot, done, viewer):
    dock, shown, ended = QDockWidget(), done.state.active(), [threading.Event(), threading.Event()]
    qtbot.addWidget(dock)
    dock.setWidget(done)
    done.corrections.tools.choose("delete")
    for jobs, event in zip((done.jobs, done.corrections.training), ended, strict=True):
        jobs.start(lambda progress, event=event: waiting(progress, event), lambda _: None)
    done.setParent(None)  # as napari does when the panel is closed
    qtbot.waitUntil(lambda: not (done.jobs.running or done.corrections.training.running), timeout=WAIT)
    assert all(event.is_set() for event in ended)
    centre = tuple(float(shown.columns[axis][0]) for axis in "zyx")
    list(done.corrections.on_drag(viewer, click_at(centre)))
    settled(qtbot, done)
    assert not shown.corrected
    assert done.state.active() is None
    dock.setWidget(done)  # a panel that is docked again works
    press(qtbot, done.run_box.run)
    finished(qtbot, done)
    assert done.state.active() is not None
    done.setParent(None)  # the dock would delete it


def waiting(progress, event):
    try:
        while True:
            progress.check()
            threading.Event().wait(0.01)
    finally:
        event.set()


def click_at(position):
    class Click:
        type, dims_displayed = "mouse_release", (1, 2)

    Click.position = position
    return Click


@pytest.mark.parametrize("labels", [("t", "y", "x"), ("t", "c", "y", "x")])
def test_named_axes_without_z_are_no_volume(widget, viewer, labels):
    layer = viewer.add_image(np.zeros((4,) * len(labels)), axis_labels=labels, name="flat")
    widget.image_box.layer.setCurrentText("flat")
    assert widget.state.image is layer
    assert widget.image_box.about.text().startswith(f"flat has the axes {', '.join(labels)}")


def test_the_axes_have_all_names_that_files_may_give_them(viewer, widget):
    viewer.add_image(np.zeros((2, 5, 6, 7)), axis_labels=("channels", "depth", "row", "column"), name="named")
    widget.image_box.layer.setCurrentText("named")
    assert widget.state.volume().letters == "CZYX"


def test_a_lazy_layer_that_can_no_longer_be_read_is_one_line(qtbot, widget, viewer, scene, tmp_path):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    gone = []

    def load(block):
        if gone:
            raise KeyError("chunk 0")
        return block

    nothing = np.empty((0, 0, 0), np.float32)
    lazy = dask.from_array(scene[0], chunks=24).map_blocks(load, dtype=np.float32, meta=nothing)
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 1))
    widget.image_box.layer.setCurrentText("lazy")
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    widget.state.active().delete([1])
    widget.state.forget()
    gone.append(True)
    with qtbot.capture_exceptions() as exceptions:
        widget.save(str(tmp_path / "labels.tif"))
        press(qtbot, widget.corrections.box.fine_tune)
    assert not exceptions
    assert not list(tmp_path.glob("labels*"))
    for text in (widget.result_box.about.text(), widget.corrections.box.training.text()):
        assert "chunk 0" in text
        assert "\n" not in text
