"""Files as layers: one per scene and channel, and lazy where they are stores or large."""

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import layer_source

from anystar_torch import io
from anystar_torch.napari import large, reader
from anystar_torch.napari.background import Progress
from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.saving import save_result
from anystar_torch.napari.segmentation import segment
from anystar_torch.napari.segmenter import Target

SIZES = {"T": 2, "C": 2, "Z": 4, "Y": 6, "X": 5}


def layers(path):
    """The image layers of a file."""
    with layer_source(path=str(path)):
        return [Image(data, **attributes) for data, attributes, _ in reader.reader(str(path))(str(path))]


def values(axes):
    shape = [SIZES[axis] for axis in axes]
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def ome_tiff(path, array, axes, **more):
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.5}
    tifffile.imwrite(
        path, array, metadata={"axes": axes, **sizes, **more}, ome=True, photometric="minisblack"
    )


def ome_zarr(path, array, levels=1):
    """An OME-Zarr image of axes t, c, z, y and x with named channels."""
    zarr = pytest.importorskip("zarr", reason="a store needs zarr")
    group = zarr.open_group(path, mode="w")
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = []
    for level in range(levels):
        step = 2**level
        group.create_array(str(level), data=array[..., ::step, ::step, ::step], chunks=(1, 1, 2, 2, 2))
        scale = {"type": "scale", "scale": [1, 1, 1.5 * step, 0.25 * step, 0.25 * step]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    channels = {"channels": [{"label": "nuclei"}, {"label": "membranes"}]}
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": datasets}], "omero": channels}


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "TZCYX"])
def test_every_channel_is_a_layer(tmp_path, axes):
    path, array = tmp_path / "a.ome.tif", values(axes)
    ome_tiff(path, array, axes)
    found = layers(path)
    assert [layer.name for layer in found] == ["a.ome.tif channel 0", "a.ome.tif channel 1"]
    for channel, layer in enumerate(found):
        expected = array.take(channel, axes.index("C"))
        assert np.array_equal(layer.data, expected)
        assert layer.axis_labels == tuple(axes.replace("C", "").lower())
        assert layer.scale[-3:].tolist() == [1.5, 0.25, 0.25]


def test_channels_have_the_names_of_the_file(tmp_path):
    ome_tiff(tmp_path / "a.ome.tif", values("CZYX"), "CZYX", Channel={"Name": ["nuclei", "membranes"]})
    ome_zarr(tmp_path / "b.ome.zarr", values("TCZYX"))
    names = [layer.name for path in ("a.ome.tif", "b.ome.zarr") for layer in layers(tmp_path / path)]
    assert names == [
        f"{path} {name}" for path in ("a.ome.tif", "b.ome.zarr") for name in ("nuclei", "membranes")
    ]


def test_a_store_is_read_in_parts(tmp_path):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    array = values("TCZYX")
    ome_zarr(tmp_path / "a.ome.zarr", array, levels=2)
    for channel, layer in enumerate(layers(tmp_path / "a.ome.zarr")):
        assert isinstance(layer.data, dask.Array)
        assert layer.axis_labels == ("t", "z", "y", "x")
        assert np.array_equal(np.asarray(layer.data), array[:, channel])
        assert np.array_equal(
            np.asarray(layer.data[1, ::-2, 3, [0, 2]]), array[1, channel, ::-2, 3, [0, 2]].T
        )
        assert np.array_equal(np.asarray(layer.data[0][1:3, 2:, ::2]), array[0, channel, 1:3, 2:, ::2])


@pytest.fixture
def little(monkeypatch):
    """A machine with room for a few of the volumes, and the boxes that are read."""
    boxes, read = [], io.LazyVolume.part

    def watched(self, box, *more):
        boxes.append(box)
        return read(self, box, *more)

    monkeypatch.setattr(reader, "available_memory", lambda: 100)
    monkeypatch.setattr(io.LazyVolume, "part", watched)
    return boxes


def test_a_series_beyond_a_share_of_memory_is_read_in_parts(tmp_path, little):
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    array = values("TZYX")
    ome_tiff(tmp_path / "a.ome.tif", array, "TZYX")
    (layer,) = layers(tmp_path / "a.ome.tif")
    assert isinstance(layer.data, dask.Array)
    little.clear()
    assert np.array_equal(np.asarray(layer.data[1, 2]), array[1, 2])
    assert len(little) == 1
    assert np.array_equal(np.asarray(layer.data), array)


def test_a_pyramid_beyond_a_share_of_memory_has_its_levels(tmp_path, little):
    pytest.importorskip("dask.array", reason="a lazy array needs dask")
    array = values("TCZYX")
    ome_zarr(tmp_path / "a.ome.zarr", array, levels=2)
    for channel, layer in enumerate(layers(tmp_path / "a.ome.zarr")):
        assert layer.multiscale
        assert [level.shape for level in layer.data] == [(2, 4, 6, 5), (2, 2, 3, 3)]
        assert np.array_equal(np.asarray(layer.data[1]), array[:, channel, ::2, ::2, ::2])


def test_a_series_in_memory_is_read_once(tmp_path, monkeypatch):
    ome_tiff(tmp_path / "a.ome.tif", values("TZYX"), "TZYX")
    read, part = [], io.LazyVolume.part

    def watched(self, box, frame, channel):
        read.append(frame)
        return part(self, box, frame, channel)

    monkeypatch.setattr(io.LazyVolume, "part", watched)
    (layer,) = layers(tmp_path / "a.ome.tif")
    assert isinstance(layer.data, np.ndarray)
    assert read == [0, 1]


def test_four_axes_without_names_stay_without(tmp_path):
    array = values("TZYX")
    np.save(tmp_path / "a.npy", array)
    (layer,) = layers(tmp_path / "a.npy")
    assert np.array_equal(layer.data, array)
    assert LayerVolume.of(layer, leading="C").letters == "CZYX"


def test_a_layer_of_a_channel_is_that_channel_of_its_file(tmp_path, state, scene):
    path = tmp_path / "a.ome.tif"
    ome_tiff(path, np.stack([np.zeros_like(scene[0]), scene[0]]), "CZYX")
    layer = layers(path)[1]
    state.image = state.viewer.add_layer(layer)
    target = state.target()
    opened = large._source(target)
    assert isinstance(opened, io.LazyVolume)
    assert opened.choice.channel == 1
    shown = state.add_result(segment(state.segmenter(), [target], state.diameter, Progress()))
    save_result(shown, tmp_path / "labels.tif")
    record = io.read_record(tmp_path / "labels.tif")
    assert record.channel == 1
    assert io.read_labels(tmp_path / "labels.tif").spacing == pytest.approx((1.5, 0.25, 0.25))


def test_a_lazy_layer_of_a_file_is_known_again(tmp_path):
    pytest.importorskip("dask.array", reason="a lazy array needs dask")
    ome_zarr(tmp_path / "a.ome.zarr", values("TCZYX"))

    def choices():
        return [
            large.LayerVoxels(Target(LayerVolume.of(layer))).choice
            for layer in layers(tmp_path / "a.ome.zarr")
        ]

    assert choices() == choices()
    assert len(set(choices())) == 2


def positions(path, *arrays):
    """An OME-TIFF of several scenes with voxels of 1, 2, ... micrometres."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, array in enumerate(arrays, 1):
            sizes = {f"PhysicalSize{axis}": number for axis in "ZYX"}
            axes = "TCZYX"[-array.ndim :] if array.ndim > 2 else "YX"
            about = {"axes": axes, "Name": f"position {number}", **sizes}
            file.write(array, photometric="minisblack", metadata=about)


@pytest.mark.parametrize("lazy", [False, True])
def test_every_scene_is_a_layer(tmp_path, lazy, request):
    """Each with its own voxel size; the first one is shown."""
    if lazy:
        pytest.importorskip("dask.array", reason="a lazy array needs dask")
        request.getfixturevalue("little")
    path, arrays = tmp_path / "a.ome.tif", [values("ZYX"), values("ZYX") + 1, values("CZYX")]
    positions(path, *arrays)
    found = layers(path)
    names = ["position 1", "position 2", "position 3 channel 0", "position 3 channel 1"]
    assert [layer.name for layer in found] == [f"a.ome.tif {name}" for name in names]
    for layer, expected in zip(found, [*arrays[:2], *arrays[2]], strict=True):
        assert np.array_equal(np.asarray(layer.data), expected)
    assert [tuple(layer.scale) for layer in found] == [(1, 1, 1), (2, 2, 2), (3, 3, 3), (3, 3, 3)]
    assert [layer.visible for layer in found] == [True, False, False, False]
    if lazy:
        assert len({layer.data.name for layer in found}) == 4, "Dask takes arrays of one name for the same"


def test_a_scene_that_is_no_volume_is_left_out_and_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    positions(path, values("ZYX"), values("YX"), values("ZYX") + 1)
    with pytest.warns(UserWarning, match=r"1 of 3 scenes are left out; the first is position 2: .*2D image"):
        found = layers(path)
    assert [layer.name for layer in found] == ["a.ome.tif position 1", "a.ome.tif position 3"]


def test_a_layer_of_a_scene_is_that_scene_of_its_file(tmp_path, state, scene):
    path = tmp_path / "a.ome.tif"
    positions(path, np.zeros_like(scene[0]), scene[0])
    state.image = state.viewer.add_layer(layers(path)[1])
    target = state.target()
    opened = large._source(target)
    assert isinstance(opened, io.LazyVolume)
    assert opened.choice.scene == "position 2"
    shown = state.add_result(segment(state.segmenter(), [target], state.diameter, Progress()))
    save_result(shown, tmp_path / "labels.tif")
    record = io.read_record(tmp_path / "labels.tif")
    assert (record.scene, record.objects) == ("position 2", len(shown.result.objects(0)))
    assert record.objects
    assert io.read_labels(tmp_path / "labels.tif").spacing == pytest.approx((2, 2, 2))


def test_a_viewer_shows_the_channels_of_a_store(tmp_path):
    pytest.importorskip("dask.array", reason="a lazy array needs dask")
    ome_zarr(tmp_path / "a.ome.zarr", values("TCZYX"))
    viewer = ViewerModel()
    for layer in layers(tmp_path / "a.ome.zarr"):
        viewer.add_layer(layer)
    viewer.dims.set_point(0, 1)
    assert len({str(layer.colormap.name) for layer in viewer.layers}) == 2
