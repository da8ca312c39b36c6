"""Layers beyond memory in the widget: into a folder, frame by frame, and known again after a restart."""

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="clicks in the widget need pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from napari.layers import Image
from napari.layers._source import layer_source

from anystar_torch import io
from anystar_torch.napari import large
from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.segmenter import Target
from tests.napari.pressing import finished, press


def test_a_volume_beyond_memory_is_segmented_into_a_folder(
    qtbot, widget, viewer, scene, tmp_path, monkeypatch
):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    pytest.importorskip("zarr", reason="labels beyond memory are OME-Zarr")
    viewer.layers["balls"].visible = False
    viewer.add_image(dask.from_array(scene[0], chunks=24), name="lazy", scale=(0.5, 0.5, 0.5), units="um")
    widget.image_box.layer.setCurrentText("lazy")
    monkeypatch.setattr(large, "available_memory", lambda: 100_000)
    monkeypatch.setattr(widget.run_box, "ask_folder", lambda name: "")
    press(qtbot, widget.run_box.run)
    assert not widget.jobs.running  # the dialog was closed
    folder = tmp_path / "labels.ome.zarr"
    monkeypatch.setattr(widget.run_box, "ask_folder", lambda name: str(folder))
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert "labels in" in widget.run_box.about.text()
    expected = widget.state.segmenter().candidates(widget.state.target(), widget.state.diameter).above(0.6)
    found = io.read_labels(folder)
    assert np.array_equal(found.array, widget.state.segmenter().model.instances(expected, 0.3).labels)
    assert found.spacing == (0.5, 0.5, 0.5)
    assert viewer.layers["labels.ome.zarr"].scale.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.long
def test_a_time_series_beyond_memory_is_segmented_frame_by_frame(
    qtbot, widget, viewer, scene, tmp_path, monkeypatch
):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    pytest.importorskip("zarr", reason="labels beyond memory are OME-Zarr")
    series = np.stack([scene[0], scene[0][::-1].copy()])
    viewer.layers["balls"].visible = False
    lazy = dask.from_array(series, chunks=(1, 24, 24, 24))
    viewer.add_image(lazy, name="lazy", scale=(1, 0.5, 0.5, 0.5), axis_labels=("t", "z", "y", "x"))
    widget.image_box.layer.setCurrentText("lazy")
    widget.state.all_frames = True
    one = widget.state.targets()[0].volume
    most = one.nbytes + 8 * np.prod(one.shape)
    monkeypatch.setattr(large, "available_memory", lambda: 2 * most + 1)  # enough for one time point
    assert not large.too_large(one)
    folder = tmp_path / "labels.ome.zarr"
    monkeypatch.setattr(widget.run_box, "ask_folder", lambda name: str(folder))
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    assert "labels in" in widget.run_box.about.text()
    segmenter = widget.state.segmenter()
    for frame, target in enumerate(widget.state.targets()):
        candidates = segmenter.candidates(target, widget.state.diameter).above(0.6)
        expected = segmenter.model.instances(candidates, 0.3).labels
        assert np.array_equal(io.read_labels(folder, frame=frame).array, expected)
    shown = viewer.layers["labels.ome.zarr"]
    assert shown.scale.tolist() == [1, 0.5, 0.5, 0.5]
    assert shown.axis_labels == ("t", "z", "y", "x")


def test_a_lazy_layer_is_known_again(scene):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")

    def choice(values, frame=0):
        layer = Image(dask.from_array(values, chunks=24), name="lazy")
        return large.LayerVoxels(Target(LayerVolume.of(layer), frame)).choice

    assert choice(scene[0]) == choice(scene[0].copy())
    assert choice(scene[0]) != choice(scene[0] + 1)
    assert choice(scene[0]) != choice(scene[0], 1)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda image: image, True),
        (lambda image: image.transpose(0, 2, 1), False),
        (lambda image: image[::-1], False),
        (lambda image: np.where(image > 0.5, image, 0).astype(image.dtype), False),
    ],
    ids=["as in the file", "transposed", "mirrored", "filtered"],
)
def test_the_file_of_a_layer_is_read_only_where_the_layer_shows_its_voxels(tmp_path, change, same):
    image = np.random.default_rng(0).random((24, 40, 40), np.float32)
    image[0, 0, 0] = np.nan
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "ZYX"})
    with layer_source(path=str(tmp_path / "image.tif")):
        layer = Image(change(image), name="image.tif", contrast_limits=(0, 1))
    source = large._source(Target(LayerVolume.of(layer)))
    assert isinstance(source, io.LazyVolume) == same
    assert np.array_equal(source[...], change(image), equal_nan=True)
