"""``anystar evaluate`` reads truth and prediction with the options of ``anystar predict``."""

import json

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from tests.cli.conftest import refused, run

LABELS = np.zeros((2, 3, 6, 16, 16), np.uint16)  # T C Z Y X
for _t, _c in np.ndindex(2, 3):
    LABELS[_t, _c, 1:4, 2 : 6 + _t, 3 : 6 + _c] = 1
    LABELS[_t, _c, 2:5, 9:14, 8 : 10 + _c] = 7


def scores(capsys, *words):
    return json.loads(run(capsys, "evaluate", *words, "--json", "--iou-thresh", 0.1))


def mean_iou(one, other):
    return np.mean([((one == n) & (other == n)).sum() / ((one == n) | (other == n)).sum() for n in (1, 7)])


def test_axes_channel_and_frame_choose_the_labels_of_both_files(capsys, tmp_path):
    np.save(tmp_path / "a.npy", LABELS)
    np.save(tmp_path / "b.npy", LABELS.transpose(1, 0, 2, 3, 4))
    both = [tmp_path / "a.npy", tmp_path / "b.npy"]
    order = ["--axes", "TCZYX", "--axes", "CTZYX"]
    found = scores(capsys, *both, *order, "--channel", 1, "--frame", 1)["b.npy"][0]
    assert (found["n_true"], found["tp"], found["mean_matched_score"]) == (2, 2, 1)
    found = scores(capsys, *both, *order, "--channel", 0, "--channel", 2, "--frame", 0, "--frame", 1)[
        "b.npy"
    ][0]
    assert found["mean_matched_score"] == pytest.approx(mean_iou(LABELS[0, 0], LABELS[1, 2]))
    assert 0.1 < found["mean_matched_score"] < 0.9
    rows = scores(capsys, *both, *order, "--channel", 2)
    assert list(rows) == ["b.npy frame 0", "b.npy frame 1", "all objects"]
    assert all(row[0]["f1"] == 1 for row in rows.values())
    assert "3 channels; choose one with channel= (0 to 2) (option: --channel)" in refused(
        capsys, "evaluate", *both, *order
    )
    assert "--axes may be given once" in refused(capsys, "evaluate", *both, *order, "--axes", "ZYX")


def test_a_scene_is_chosen(capsys, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for channel, name in enumerate(("left", "right")):
            file.write(LABELS[0, channel], photometric="minisblack", metadata={"axes": "ZYX", "Name": name})
    np.save(tmp_path / "b.npy", LABELS[0, 1])
    words = [tmp_path / "a.ome.tif", tmp_path / "b.npy"]
    assert "2 scenes (left, right)" in refused(capsys, "evaluate", *words)
    assert scores(capsys, *words, "--scene", "right", "--scene", 0)["b.npy"][0]["mean_matched_score"] == 1
    assert scores(capsys, *words, "--scene", 0)["b.npy"][0]["mean_matched_score"] < 1


def test_one_time_point_of_a_series_against_one_volume(capsys, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS[:, 0], imagej=True, metadata={"axes": "TZYX"})
    np.save(tmp_path / "b.npy", LABELS[1, 0])
    words = [tmp_path / "a.tif", tmp_path / "b.npy"]
    assert "choose one of each with frame= (option: --frame)" in refused(capsys, "evaluate", *words)
    assert scores(capsys, *words, "--frame", 1, "--frame", 0)["b.npy"][0]["mean_matched_score"] == 1


def test_datasets_of_hdf5_files_are_named(capsys, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inner/truth"], file["found"] = LABELS[0, 0], LABELS[0, 1]
    words = [f"{tmp_path}/a.h5:/inner/truth", f"{tmp_path}/a.h5:/found"]
    rows = scores(capsys, *words)
    assert [row[0]["n_true"] for row in rows.values()] == [2]
    assert "no dataset nothing" in refused(capsys, "evaluate", words[0], f"{tmp_path}/a.h5:/nothing")


def test_labels_with_a_given_voxel_size_are_compared_with_a_truth_that_has_the_wrong_one(capsys, tmp_path):
    """Only where a run record says that the labels were predicted; other files must lie at the same place."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(LABELS[0, 0].T, np.eye(4)), tmp_path / "truth.nii")
    image = io.read(tmp_path / "truth.nii", spacing=(2000, 500, 500))
    record = io.RunRecord(spacing=(2000.0, 500.0, 500.0), unit="um")
    io.write(tmp_path / "found.nii", LABELS[0, 0].astype(np.int32), image, record)
    io.write(tmp_path / "other.nii", LABELS[0, 0].astype(np.int32), image)
    assert scores(capsys, tmp_path / "truth.nii", tmp_path / "found.nii")["found.nii"][0]["f1"] == 1
    assert "different places" in refused(capsys, "evaluate", tmp_path / "truth.nii", tmp_path / "other.nii")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_number_is_cut_off_in_a_narrow_terminal(capsys, monkeypatch, columns, terminal):
    from rich import console

    from anystar_torch.cli.evaluate import _table
    from anystar_torch.evaluation.matching import ContingencyTable

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(console.Console, "is_terminal", terminal)
    truth = np.repeat(np.arange(1301), 3)
    score = ContingencyTable.of(truth, np.where(truth % 2, truth, 0)).matching(0.35)
    name = "a[dapi]_0012_" + "very_" * 20 + "long.tif"
    _table([(name, [score]), ("all objects", [score])])
    lines = capsys.readouterr().out
    numbers = ["0.35", "1300", "650", "650", "1.000", "0.500", "0.667", "0.500", "0.667"]
    rows = [
        [word for word in line.replace("│", " ").split() if word[0].isdigit()] for line in lines.splitlines()
    ]
    assert rows.count(numbers) == 2
    assert "…" not in lines
    assert "[dapi]" in lines.replace("\n", "")


@pytest.mark.parametrize("fraction", [-0.1, 10, "nan"])
def test_small_objects_are_those_below_a_fraction(capsys, tmp_path, fraction):
    tifffile.imwrite(tmp_path / "a.tif", LABELS[0, 0])
    line = refused(capsys, "evaluate", tmp_path / "a.tif", tmp_path / "a.tif", "--drop-small", fraction)
    assert "--drop-small must be a fraction between 0 and 1" in line
