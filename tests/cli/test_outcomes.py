"""What is printed and recorded of a run: which volume a line is about, what is done, and what was only assumed."""

import json

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.cli.paths import expand
from anystar_torch.cli.segment import Done
from tests.cli.conftest import SHAPE, predict, refused, run


def test_every_failure_of_a_batch_names_its_volume(capsys, model, tmp_path):
    for name, value in (("flat", 1.0), ("void", np.nan)):
        np.save(tmp_path / f"{name}.npy", np.full((4, 5, 6), value))
    line = refused(capsys, "predict", tmp_path, "--model", "m", "--diameter", "8um")
    assert line.count("has a unit, and the voxel size is unknown") == 2
    assert "flat.npy: diameter '8um'" in line
    assert "void.npy: diameter '8um'" in line


def test_an_interrupted_batch_says_what_is_done(capsys, model, tmp_path, monkeypatch):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 5, 6)))

    def segment(path, outputs, job):
        if path.name == "b.npy":
            raise KeyboardInterrupt
        return Done(f"{path.name}: done", ("a note",), 3)

    monkeypatch.setattr("anystar_torch.cli.predict.segment", segment)
    from anystar_torch.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path), "--model", "m"])
    said, line = capsys.readouterr()
    assert ended.value.code == 130
    assert line == "anystar: interrupted; nothing was left half-written\n"
    assert said.splitlines()[:2] == ["a note", "a.npy: done"]
    assert said.splitlines()[2].startswith("1 of 3 volumes done: 3 objects in")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--spacing", 0, 1, 1], "anystar: spacing must be three positive numbers (z, y, x), got"),
        (["--spacing", 1, "nan", 1], "anystar: spacing must be three positive numbers (z, y, x), got"),
        (["--axes", "QYX"], "a.npy: axes must be different letters of Z, Y, X, C and T"),
    ],
)
def test_a_wrong_option_is_no_fault_of_the_file(capsys, model, tmp_path, option, words):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6)))
    line = refused(capsys, "predict", tmp_path / "a.npy", "--model", "m", *option)
    assert words in line
    assert "cannot be read" not in line
    assert f"(option: {option[0]})" in line


def test_a_diameter_without_objects_is_assumed(capsys, model, tmp_path):
    path, kept = tmp_path / "a.npy", tmp_path / "c.npz"
    np.save(path, np.full(SHAPE, 7, np.uint8))
    said = predict(capsys, path, "--candidates", kept)
    assert "0 objects" in said
    assert "diameter 13.0 assumed" in said
    assert io.read_record(io.beside(path)).diameter_source == "assumed"
    assert "diameter 13.0 assumed" in run(capsys, "relabel", kept, "--overwrite")
    assert "diameter 13.0 given" in predict(capsys, path, "--overwrite", "--diameter", 13)


def test_candidates_keep_the_notes_of_their_run(capsys, volume, model, tmp_path):
    kept = tmp_path / "c.npz"
    predict(capsys, volume, "--candidates", kept)
    predicted = io.read_record(io.beside(volume))
    assert any("diameter estimated as" in note for note in predicted.notes)
    run(capsys, "relabel", kept, "-o", tmp_path / "again.tif")
    again = io.read_record(tmp_path / "again.tif")
    assert again.notes == predicted.notes
    assert again.diameter_source == predicted.diameter_source == "estimated"
    shown = json.loads(run(capsys, "info", kept, "--json"))
    assert shown["notes"] == list(predicted.notes)
    assert shown["diameters"] == list(predicted.diameters)
    assert shown["source"] == str(volume)


def test_candidates_are_no_volume_under_any_name(capsys, volume, model, tmp_path):
    predict(capsys, volume, "--candidates", tmp_path / "kept.npz", "--diameter", 13)
    np.savez(tmp_path / "other.npz", np.zeros((4, 5, 6)))
    names = [path.name for path in expand([str(tmp_path)])]
    assert names == ["nuclei.tif", "other.npz", "truth.tif"]
    assert [path.name for path in expand([str(tmp_path / "*.npz")])] == ["other.npz"]
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    assert "broken.npz" in [path.name for path in expand([str(tmp_path)])]
