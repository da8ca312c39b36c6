"""What was computed of an image is used for this image only, and as long as its data are the same."""

import gc
import threading
import time

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from napari.layers import Image
from qtpy.QtCore import QThreadPool

from anystar_torch.inference.object_size import ObjectSize
from anystar_torch.napari import segmenter as module
from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.segmenter import Segmenter, Target
from anystar_torch.napari.views.widget import SegmentationWidget


@pytest.mark.parametrize("kind", ["array", "view", "dask"])
def test_a_new_image_is_not_taken_for_one_that_was_removed(network, monkeypatch, kind):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    monkeypatch.setattr(
        module.stages, "object_size", lambda volume, *_: ObjectSize(float(volume.voxels.max()))
    )
    segmenter = Segmenter(network, "cpu")
    make = {
        "array": lambda grey: np.full((4, 5, 6), grey, np.float32),
        "view": lambda grey: np.full((4, 5, 6, 2), grey, np.float32)[..., 0],
        "dask": lambda grey: dask.full((4, 5, 6), grey, dtype=np.float32),
    }[kind]
    for grey in range(1, 30):
        target = Target(LayerVolume.of(Image(make(grey))))
        assert segmenter.opened(target).voxels.max() == grey
        assert segmenter.size(target).diameter == grey
        del target
        gc.collect()
    assert len(segmenter._opened) == 2


def test_a_volume_that_is_open_is_not_read_again(network):
    layer = Image(np.ones((4, 5, 6)))
    segmenter = Segmenter(network, "cpu")
    first = segmenter.opened(Target(LayerVolume.of(layer)))
    assert segmenter.opened(Target(LayerVolume.of(layer))) is first
    assert segmenter.opened(Target(LayerVolume.of(layer), spacing=(2.0, 1.0, 1.0))) is not first


def test_changed_data_are_read_again(widget, viewer):
    layer = viewer.layers["balls"]
    layer.data = layer.data.copy()
    segmenter = widget.state.segmenter()

    def highest():
        return segmenter.opened(widget.state.target()).intensity_range.high

    before = highest()
    layer.data[...] *= 3
    layer.refresh()
    assert highest() == pytest.approx(3 * before)
    layer.data = layer.data * 2
    assert highest() == pytest.approx(6 * before)
    known = segmenter.opened(widget.state.target())
    viewer.dims.set_point(0, 3)  # another plane of the same data
    viewer.dims.set_point(0, 4)
    assert segmenter.opened(widget.state.target()) is known


def test_work_ends_when_the_widget_is_destroyed(qtbot, viewer, tmp_path):
    made = SegmentationWidget(viewer, memory=tmp_path / "models.json")
    ended = [threading.Event(), threading.Event()]

    def work(event):
        def waiting(progress):
            try:
                while True:
                    progress.check()
                    time.sleep(0.01)
            finally:
                event.set()

        return waiting

    for jobs, event in zip((made.jobs, made.corrections.training), ended, strict=True):
        jobs.start(work(event), lambda _: None)
    with qtbot.waitSignal(made.destroyed):
        made.deleteLater()
    assert all(event.wait(10) for event in ended)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    qtbot.wait(100)  # what the threads have sent is delivered before the next test
