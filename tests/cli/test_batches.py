"""Several volumes at once: folders, patterns, slices, time series."""

import json

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.cli import main
from tests.cli.conftest import SHAPE, predict, refused, run
from tests.inference.scenes import balls, lattice


@pytest.mark.long
def test_a_folder_is_a_batch_and_a_failure_stops_nothing(capsys, volume, model, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0no tiff")
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / ".0123abcd.left.tif").write_bytes(b"what a killed process left")
    tables = tmp_path / "tables"
    tables.mkdir()
    extra = ["--table", tables, "--picture", tables]
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path), "-o", str(out), "--model", "m", "--diameter", "13", *map(str, extra)])
    said, line = capsys.readouterr()
    assert ended.value.code == 2
    assert line.startswith("anystar: 1 of 3 volumes failed")
    assert len(line.splitlines()) == 1
    assert "broken.tif" in line
    assert "2 of 3 volumes done: " in said.splitlines()[-1]
    assert len(said.splitlines()) >= 3
    assert sorted(p.name for p in out.iterdir()) == ["nuclei.labels.tif", "truth.labels.tif"]
    assert sorted(p.name for p in tables.iterdir()) == ["nuclei.csv", "nuclei.png", "truth.csv", "truth.png"]
    scores = json.loads(run(capsys, "evaluate", out, out, "--json", "--iou-thresh", 0.5))
    assert list(scores) == ["nuclei", "truth", "all objects"]


@pytest.mark.long
def test_a_batch_has_one_bar(capsys, volume, model, tmp_path, monkeypatch):
    from anystar_torch.system import progress

    drawn = []
    real = progress.bar

    def watched(title, shown=True):
        drawn.append(title) if shown else None
        return real(title, shown)

    for place in ("system.progress", "inference.stages"):
        monkeypatch.setattr(f"anystar_torch.{place}.bar", watched)
    predict(capsys, volume, tmp_path / "truth.tif", "-o", tmp_path, "--diameter", 13)
    assert drawn == ["predicting 2 volumes"]
    drawn.clear()
    predict(capsys, volume, "--diameter", 13, "--overwrite")
    assert drawn == ["coarse pass", "predicting", "suppressing"]


def test_results_of_two_volumes_never_share_a_file(capsys, volume, model, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "a" / "nuclei.tif").write_bytes(volume.read_bytes())
    pattern = str(tmp_path / "**" / "nuclei.tif")
    line = refused(capsys, "predict", pattern, "-o", tmp_path / "out", "--model", "m", "--overwrite")
    assert "would both be written to" in line
    line = refused(capsys, "predict", pattern, "-o", tmp_path / "one.tif", "--model", "m")
    assert "must be a folder that exists" in line


@pytest.mark.long
def test_a_folder_of_slices_gives_a_folder_of_slices(capsys, volume, model, tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for z, plane in enumerate(tifffile.imread(volume)):
        tifffile.imwrite(folder / f"nuclei_z{z}.tif", plane)
    said = predict(capsys, folder, "--spacing", 0.5, 0.5, 0.5, "--diameter", 13)
    result = tmp_path / "slices.labels"
    assert f"{result}: 12 objects" in said
    assert json.loads((result / "anystar.json").read_text())["prob_thresh"] == 0.6
    assert {p.stem for p in result.glob("*.tif")} == {p.stem for p in folder.iterdir()}
    truth = io.read_labels(tmp_path / "truth.tif").array
    assert np.array_equal(io.read_labels(result).array > 0, io.read_labels(result).array.astype(bool))
    assert json.loads(run(capsys, "evaluate", tmp_path / "truth.tif", result, "--json", "--iou-thresh", 0.65))
    assert io.read_labels(result).array.shape == truth.shape


@pytest.mark.long
def test_a_time_series_is_predicted_frame_by_frame(capsys, model, tmp_path):
    frames = np.stack([balls(SHAPE, lattice(SHAPE, d))[0] for d in (16, 20)])
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, (frames * 60000).astype(np.uint16), imagej=True, metadata={"axes": "TZYX"})
    predict(capsys, path, "--diameter", 13)
    with tifffile.TiffFile(tmp_path / "movie.labels.tif") as file:
        assert file.series[0].axes == "TZYX"
        assert [int(frame.max()) for frame in file.asarray()] == [12, 8]
    assert "--frame" in refused(
        capsys, "predict", path, "--model", "m", "--overwrite", "--table", tmp_path / "p.csv"
    )
    said = predict(capsys, path, "--diameter", 13, "--frame", 1, "-o", tmp_path / "one.tif")
    assert " 8 objects" in said
