"""An existing folder that is given for a result gets a file named after the volume, for one volume as for several."""

import csv

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from tests.cli.conftest import SHAPE, predict, refused, run
from tests.inference.scenes import balls, lattice


def test_results_of_one_volume_lie_in_the_folders_that_are_given(capsys, volume, model, tmp_path):
    out, labels = tmp_path / "out", tmp_path / "labels"
    out.mkdir()
    labels.mkdir()
    (out / "notes.txt").write_text("of years")
    places = [word for name in ("--picture", "--table", "--candidates") for word in (name, out)]
    predict(capsys, volume, "-o", labels, "--diameter", 13, *places)
    names = ["notes.txt", "nuclei.candidates.npz", "nuclei.csv", "nuclei.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "nuclei.png").read_bytes()[:4] == b"\x89PNG"
    found = tifffile.imread(labels / "nuclei.labels.tif")
    with open(out / "nuclei.csv") as file:
        assert len(list(csv.DictReader(file))) == found.max() == 12
    line = refused(capsys, "predict", volume, "-o", tmp_path / "x.tif", "--table", out, "--model", "m")
    assert "nuclei.csv exists" in line
    run(capsys, "relabel", out / "nuclei.candidates.npz", "-o", out)
    assert np.array_equal(tifffile.imread(out / "nuclei.labels.tif"), found)
    line = refused(capsys, "relabel", out / "nuclei.candidates.npz", "-o", out)
    assert "nuclei.labels.tif exists" in line
    run(capsys, "relabel", out / "nuclei.candidates.npz", "-o", out, "--overwrite", "--prob-thresh", 0.8)
    assert io.read_record(out / "nuclei.labels.tif").prob_thresh == 0.8
    assert (out / "notes.txt").read_text() == "of years"


def test_labels_that_are_a_folder_of_images_are_replaced_and_nothing_lies_in_them(capsys, model, tmp_path):
    """Such a folder is no folder for results."""
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    scan, result, kept = tmp_path / "scan", tmp_path / "result", tmp_path / "c.npz"
    scan.mkdir()
    for z, plane in enumerate((image * 60000).astype(np.uint16)):
        tifffile.imwrite(scan / f"{z:03d}.tif", plane)
    names = sorted([*(path.name for path in scan.iterdir()), "anystar.json"])
    predict(capsys, scan, "-o", result, "--diameter", 13, "--candidates", kept)
    assert sorted(path.name for path in result.iterdir()) == names
    assert "result exists" in refused(capsys, "predict", scan, "-o", result, "--model", "m")
    assert "result exists" in refused(capsys, "relabel", kept, "-o", result)
    for command in (("relabel", kept, "--prob-thresh", 0.8), ("predict", scan, "--prob-thresh", 0.7)):
        extra = ["--model", "m", "--diameter", 13] if command[0] == "predict" else []
        run(capsys, *command, "-o", result, "--overwrite", *extra)
        assert sorted(path.name for path in result.iterdir()) == names
        assert io.read_record(result).prob_thresh == command[-1]


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--table", "objects.xlsx", "tables end in .csv or .parquet"),
        ("--meshes", "scene.OBJ", "one .ply file, or a folder"),
        ("--meshes", "scene.stl", "one .ply file, or a folder"),
    ],
)
def test_a_result_never_has_the_ending_of_another_format(capsys, volume, model, option, name, words):
    before = sorted(path.name for path in volume.parent.iterdir())
    line = refused(capsys, "predict", volume, option, volume.parent / name, "--model", "m")
    assert words in line
    assert sorted(path.name for path in volume.parent.iterdir()) == before
