"""What *Save* writes of results that were corrected, of time series, and of layers whose file cannot be read."""

import csv
import sys

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from napari.layers._source import layer_source

from anystar_torch import io
from anystar_torch.inference.candidates import Candidates
from anystar_torch.napari.background import Progress
from anystar_torch.napari.saving import save_result
from anystar_torch.napari.segmentation import segment

COUNT = 6  # balls of the scene
FREE = (2, 2, 2)  # background


def segmented(state):
    return state.add_result(segment(state.segmenter(), state.targets(), state.diameter, Progress()))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def shown(state):
    return segmented(state)


@pytest.fixture
def series(state, scene):
    """The balls at three time points, of which the second has none."""
    data = np.stack([scene[0], np.zeros_like(scene[0]), np.roll(scene[0], 3, axis=2)])
    state.image = state.viewer.add_image(data, name="series", axis_labels=("t", "z", "y", "x"))
    state.all_frames = True
    return segmented(state)


def test_what_was_painted_is_measured(shown, tmp_path):
    shown.layer.n_edit_dimensions = 3
    shown.layer.paint(FREE, 50)
    line = save_result(shown, tmp_path / "a.csv")
    assert line.endswith(f"a.csv: {COUNT + 1} objects")
    assert [int(row["index"]) for row in rows(tmp_path / "a.csv")] == [*range(1, COUNT + 1), 50]
    assert 50 in shown.layer.features["index"].tolist()


def test_what_was_erased_is_gone(shown, tmp_path):
    shown.layer.n_edit_dimensions = 3
    shown.layer.fill(tuple(np.argwhere(shown.volume() == 2)[0]), 0)
    save_result(shown, tmp_path / "a.csv")
    assert [int(row["index"]) for row in rows(tmp_path / "a.csv")] == [1, 3, 4, 5, 6]
    assert save_result(shown, tmp_path / "a.tif").endswith(f"{COUNT - 1} objects")


def test_what_was_undone_is_back(shown, tmp_path):
    shown.delete([1])
    shown.layer.undo()
    assert save_result(shown, tmp_path / "a.csv").endswith(f"{COUNT} objects")
    assert len(rows(tmp_path / "a.csv")) == COUNT


def test_corrections_at_other_thresholds_are_kept(series, tmp_path):
    series.result.thresholds = (0.7, 0.3)
    series.layer.n_edit_dimensions = 3
    series.layer.paint((1, *FREE), 77)
    painted = int((series.volume(1) == 77).sum())
    save_result(series, tmp_path / "a.tif")
    assert painted
    assert (series.volume(1) == 77).sum() == painted
    assert (tifffile.imread(tmp_path / "a.tif")[1] == 77).sum() == painted
    assert not series.needs(2)
    notes = io.read_record(tmp_path / "a.tif").notes
    assert any("frame 1: it was corrected at other thresholds" in note for note in notes)


def test_a_table_has_all_time_points(series, tmp_path):
    line = save_result(series, tmp_path / "a.csv")
    assert line.endswith(f"{2 * COUNT} objects in 3 time points")
    assert [row["frame"] for row in rows(tmp_path / "a.csv")] == ["0"] * COUNT + ["2"] * COUNT
    series.layer.n_edit_dimensions = 3
    series.layer.paint((1, *FREE), 50)
    save_result(series, tmp_path / "a.csv")
    found = [(row["frame"], row["index"]) for row in rows(tmp_path / "a.csv") if row["frame"] == "1"]
    assert found == [("1", "50")]


def test_files_of_one_time_point_name_it(series, tmp_path):
    series.frame = 2
    assert "candidates of time point 2," in save_result(series, tmp_path / "a.npz")
    record = Candidates.load(tmp_path / "a.npz")[1]
    assert (record.frame, record.objects) == (2, COUNT)
    assert save_result(series, tmp_path / "a.ply").endswith(f"{COUNT} objects of time point 2")


@pytest.fixture
def opened(state, scene, tmp_path):
    """A result of a layer that was opened from a file."""

    def result(path):
        with layer_source(path=str(path)):
            state.image = state.viewer.add_image(scene[0], name="file", axis_labels=("z", "y", "x"))
        return segmented(state)

    return result


def test_the_image_is_never_replaced(opened, scene, tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, scene[0])
    with pytest.raises(ValueError, match="would replace the input"):
        save_result(opened(path), path)
    assert np.array_equal(tifffile.imread(path), scene[0])


@pytest.mark.parametrize("ending", [".tif", ".csv", ".npz"])
def test_a_source_that_cannot_be_read_stops_nothing(opened, tmp_path, monkeypatch, ending):
    monkeypatch.setitem(sys.modules, "bioio", None)  # importing it fails
    path = tmp_path / "image.czi"
    path.write_bytes(b"ZISRAWFILE")
    save_result(opened(path), tmp_path / f"a{ending}")
    assert (tmp_path / f"a{ending}").is_file()


def test_candidates_of_an_oriented_volume_find_it_again(opened, scene, tmp_path):
    nib = pytest.importorskip("nibabel")
    from anystar_torch.cli.relabel import source_volume

    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(scene[0].transpose(2, 1, 0), np.diag([-1, 1, 1, 1])), path)
    shown = opened(path)
    save_result(shown, tmp_path / "a.npz")
    record = Candidates.load(tmp_path / "a.npz")[1]
    assert source_volume(record, shown.volume()).path == path
