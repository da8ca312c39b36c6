"""Runs, previews, results and files, with a network that knows the balls it sees; without Qt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="the plugin needs the extra napari")


from napari.layers._source import layer_source

from anystar_torch import io
from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.candidates import Candidates
from anystar_torch.napari import saving
from anystar_torch.napari.background import CancelledError, Progress, run
from anystar_torch.napari.click_tools import ClickTools
from anystar_torch.napari.models import Models
from anystar_torch.napari.segmentation import segment
from anystar_torch.napari.segmenter import PREVIEW_VOXELS, reduced
from tests.inference.scenes import RADIUS, balls

COUNT = 6  # balls of the scene


def segmented(state, progress=None):
    return segment(state.segmenter(), state.targets(), state.diameter, progress or Progress())


def test_a_run_finds_what_predict_finds(state, network, scene):
    result = segmented(state)
    expected = network.predict(scene[0], diameter=2 * RADIUS, device="cpu", progress=False)
    assert np.array_equal(result.objects(0).labels, expected.labels)
    assert matching(scene[1], expected.labels, 0.7).f1 == 1
    assert result.finished_record().objects == COUNT


def test_an_estimated_size_is_that_of_predict(state, network, scene):
    state.diameter = None
    expected = network.predict(scene[0], device="cpu", progress=False)
    found = segmented(state).objects(0)
    assert found.estimate == expected.estimate
    assert np.array_equal(found.labels, expected.labels)


def test_the_preview_equals_the_run_in_view(state):
    whole = segmented(state).objects(0)
    view = (slice(0, 24), slice(10, 40), slice(10, 48))
    found = state.segmenter().preview(state.target(), state.diameter, view, (0.6, 0.3))
    z, y, x = found.found.labels.shape
    start = np.array(found.start)
    part = whole.labels[tuple(slice(a, a + n) for a, n in zip(start, (z, y, x), strict=True))]
    inside = ((np.rint(whole.points) >= start) & (np.rint(whole.points) < start + np.array([z, y, x]))).all(1)
    assert len(found.found) == inside.sum() > 1
    kept = np.isin(part, np.flatnonzero(inside) + 1)
    assert np.array_equal(found.found.labels > 0, kept)


def test_a_large_view_is_reduced_to_what_takes_seconds():
    view = tuple(slice(0, n) for n in (300, 2000, 2000))
    part = reduced(view, (300, 2000, 2000), (2.0, 1.0, 1.0), 13.0, 13.0)
    sizes = np.array([p.stop - p.start for p in part]) * (2, 1, 1)
    assert 0.8 * PREVIEW_VOXELS < np.prod(sizes) <= PREVIEW_VOXELS
    assert all(abs((p.start + p.stop) - n) <= 2 for p, n in zip(part, (300, 2000, 2000), strict=True))


def test_a_lazy_layer_is_read_in_parts_only(state, scene):
    class Lazy:
        """An array that refuses to be read as a whole."""

        shape, dtype, ndim = (200, 300, 300), np.dtype(np.float32), 3

        def __getitem__(self, index):
            sizes = [len(range(*part.indices(n))) for part, n in zip(index, self.shape, strict=True)]
            assert np.prod(sizes) < 0.2 * np.prod(self.shape)
            return np.resize(scene[0], sizes)

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("the whole array was read")

    target = state.target()
    target = replace(target, volume=replace(target.volume, levels=(Lazy(),)))
    view = (slice(90, 110), slice(100, 160), slice(100, 160))
    found = state.segmenter().preview(target, state.diameter, view, (0.6, 0.3))
    assert found.start == (90, 100, 100)


def test_work_ends_at_once_when_it_is_cancelled(state):
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        run(lambda: segmented(state, progress), progress)
    assert not state.viewer.layers.selection.active.name.endswith("objects")


def test_work_is_cancelled_between_two_layers_of_the_network(network, scene):
    progress = Progress()
    module = network.network

    def cancel(*_):
        progress.cancel()

    hook = module.register_forward_pre_hook(cancel)
    try:
        with pytest.raises(CancelledError):
            run(lambda: network.predict(scene[0], diameter=13.0, device="cpu"), progress, module)
    finally:
        hook.remove()
    assert not module._forward_pre_hooks


@pytest.mark.long
def test_time_points_are_segmented_one_by_one(state, scene):
    series = np.stack([scene[0], np.zeros_like(scene[0]), np.roll(scene[0], 3, axis=2)])
    state.image = state.viewer.add_image(series, name="series", axis_labels=("t", "z", "y", "x"))
    state.all_frames = True
    shown = state.add_result(segmented(state))
    assert shown.layer.data.shape == series.shape
    assert [int(shown.volume(frame).max()) for frame in range(3)] == [COUNT, 0, COUNT]
    state.viewer.dims.set_point(0, 2)
    state.show_frame(shown)
    assert shown.frame == 2
    shown.update_features()
    assert len(shown.layer.features) == COUNT + 1


@pytest.mark.long
def test_one_time_point_and_one_channel_lie_where_they_were(state, scene):
    data = np.zeros((2, 3, *scene[0].shape), np.float32)
    data[1, 2] = scene[0]
    state.image = state.viewer.add_image(data, name="channels", axis_labels=("t", "c", "z", "y", "x"))
    state.channel = 2
    state.viewer.dims.set_point(0, 1)
    shown = state.add_result(segmented(state))
    assert shown.layer.data.shape == (1, 1, *scene[0].shape)
    assert shown.layer.translate.tolist() == [1, 2, 0, 0, 0]
    assert int(shown.volume(1).max()) == COUNT


def test_the_labels_layer_has_scale_units_features_and_record(state):
    state.set_spacing((2.0, 0.5, 0.5))
    shown = state.add_result(segmented(state))
    layer = shown.layer
    assert layer.scale.tolist() == [2, 0.5, 0.5]
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert list(layer.features.columns)[:4] == ["index", "score", "volume", "diameter"]
    record = io.RunRecord.from_json(layer.metadata["anystar_torch"])
    assert (record.spacing, record.unit, record.objects) == ((2, 0.5, 0.5), "um", len(shown.columns["index"]))


def test_saved_labels_equal_those_of_the_command_line(state, network, scene, tmp_path, monkeypatch):
    from anystar_torch import cli
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.napari.reader import reader

    path = tmp_path / "balls.ome.tif"
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 0.5}
    tifffile.imwrite(path, scene[0], metadata={"axes": "ZYX", **sizes}, ome=True)
    monkeypatch.setattr(AnyStar, "from_pretrained", classmethod(lambda *_, **__: network))
    with pytest.raises(SystemExit) as ended:
        cli.main(
            [
                "predict",
                str(path),
                "-o",
                str(tmp_path / "one.ome.tif"),
                "--diameter",
                "13",
                "--device",
                "cpu",
                "--table",
                str(tmp_path / "one.csv"),
            ]
        )
    assert not ended.value.code
    ((data, attributes, _),) = reader(str(path))(str(path))
    with layer_source(path=str(path)):
        state.image = state.viewer.add_image(data, **attributes)
    shown = state.add_result(segmented(state))
    assert saving.default_name(shown) == Path(tmp_path / "balls.labels.ome.tif")
    saving.save_result(shown, tmp_path / "two.ome.tif")
    saving.save_result(shown, tmp_path / "two.csv")
    one, two = io.read_labels(tmp_path / "one.ome.tif"), io.read_labels(tmp_path / "two.ome.tif")
    assert np.array_equal(one.array, two.array)
    assert (one.spacing, one.unit) == (two.spacing, two.unit) == ((0.5, 0.5, 0.5), "um")
    assert io.read_record(tmp_path / "one.ome.tif") == io.read_record(tmp_path / "two.ome.tif")
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_candidates_and_meshes_are_saved_too(state, tmp_path):
    shown = state.add_result(segmented(state))
    assert "relabel" in saving.save_result(shown, tmp_path / "a.npz")
    stored, record = Candidates.load(tmp_path / "a.npz")
    assert len(stored.scores) == len(shown.result.live[0].candidates.scores)
    assert record.diameter_source == "given"
    saving.save_result(shown, tmp_path / "a.ply")
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply")
    with pytest.raises(ValueError, match="ending"):
        saving.save_result(shown, tmp_path / "a.doc")


def test_corrections_are_saved_and_recorded(state, tmp_path):
    shown = state.add_result(segmented(state))
    tools = ClickTools("delete")
    voxel = tuple(float(p) for p in np.rint(shown.result.objects(0).points[0]))
    shown.apply(tools.click(shown, voxel)())
    assert shown.corrected
    with pytest.raises(ValueError, match="click on an object"):
        tools.click(shown, voxel)
    tools.choose("add")
    shown.apply(tools.click(shown, voxel)())
    assert shown.volume()[tuple(map(int, voxel))] == COUNT + 1
    with pytest.raises(ValueError, match="inside"):
        tools.click(shown, (100.0, 0.0, 0.0))
    shown.layer.undo()
    assert shown.volume()[tuple(map(int, voxel))] == 0
    saving.save_result(shown, tmp_path / "a.tif")
    assert any("1 deleted" in note for note in io.read_record(tmp_path / "a.tif").notes)
    saving.save_result(shown, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="polyhedra"):
        saving.save_result(shown, tmp_path / "a.ply")


def test_two_clicks_split_an_object(state):
    image, _ = balls((24, 40, 48), [(12, 14, 20)], RADIUS)
    state.image = state.viewer.add_image(image, name="one")
    shown = state.add_result(segmented(state))
    tools = ClickTools("split")
    assert tools.click(shown, (12.0, 14.0, 17.0)) is None
    shown.apply(tools.click(shown, (12.0, 14.0, 24.0))())
    assert sorted(np.unique(shown.volume())) == [0, 1, 2]
    assert shown.volume()[12, 14, 17] != shown.volume()[12, 14, 24]


def test_a_corrected_layer_stays_when_thresholds_change(state):
    shown = state.add_result(segmented(state))
    shown.delete([1])
    copy = state.fork(shown)
    assert not copy.corrected
    assert shown.corrected
    assert shown.layer.name.endswith("(corrected)")
    copy.show(0, copy.objects((0.9, 0.3), 0))
    assert len(np.unique(shown.volume())) == COUNT


def test_models_are_remembered_by_their_folder(tmp_path, network, monkeypatch):
    from anystar_torch.inference.predictor import AnyStar

    monkeypatch.setattr(AnyStar, "from_pretrained", classmethod(lambda *_: network))
    models = Models(tmp_path / "config" / "models.json")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        models.load(str(tmp_path / name))
    models.load(str(tmp_path / "a"))
    assert Models(models.memory).recent == [str(tmp_path / "a"), str(tmp_path / "b")]
    (tmp_path / "a").rmdir()
    assert models.recent == [str(tmp_path / "b")]
    models.memory.write_text("no json")
    assert models.recent == []


def test_models_are_remembered_for_the_session_where_no_file_can_be_written(tmp_path, network, monkeypatch):
    from anystar_torch.inference.predictor import AnyStar

    monkeypatch.setattr(AnyStar, "from_pretrained", classmethod(lambda *_: network))
    (tmp_path / "file").touch()
    models = Models(tmp_path / "file" / "config" / "models.json")  # a file has no folders in it
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert models.load(str(tmp_path / name)) is network
    assert models.recent == [str(tmp_path / "b"), str(tmp_path / "a")]
    assert Models(models.memory).recent == []
