"""Labels of stored candidates lie where their volume lies, whatever folder one is in, or nothing is written."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from anystar_torch import io
from tests.cli.conftest import SHAPE, predict, refused, run
from tests.inference.scenes import balls, lattice
from tests.io.test_orientation import oblique

AFFINE = oblique(spacing=(0.5, 0.5, 0.5))


@pytest.fixture
def subject(tmp_path):
    """A folder with an oblique volume."""
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "vol.nii.gz"
    nibabel.save(nibabel.Nifti1Image((image * 60000).astype(np.uint16).T, AFFINE), path)
    return path


@pytest.fixture
def candidates(subject, model, capsys, monkeypatch):
    """Candidates beside the folder, made by a relative path."""
    monkeypatch.chdir(subject.parent)
    predict(capsys, Path(subject.name), "--diameter", 13, "--candidates", "../c.npz")
    return subject.parent.parent / "c.npz"


def test_from_another_folder_the_place_is_the_same(tmp_path, subject, candidates, capsys, monkeypatch):
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    other = nibabel.load(subject)
    nibabel.save(nibabel.Nifti1Image(np.asarray(other.dataobj), np.diag([2.0, 2, 2, 1])), "vol.nii.gz")
    run(capsys, "relabel", "../c.npz", "-o", "out.nii.gz")
    found = nibabel.load("out.nii.gz")
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    written = nibabel.load(subject.parent / "vol.labels.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(written.dataobj))
    run(capsys, "relabel", "../c.npz", "--overwrite")
    assert sorted(path.name for path in Path().iterdir()) == ["out.nii.gz", "vol.nii.gz"], "beside the source"


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_the_place_is_known_where_the_source_is_gone(tmp_path, subject, candidates, capsys, ending):
    shutil.rmtree(subject.parent)
    run(capsys, "relabel", candidates, "-o", tmp_path / f"out{ending}")
    np.testing.assert_allclose(io.read_labels(tmp_path / f"out{ending}").affine, AFFINE, atol=1e-5)
    if ending != ".nii.gz":
        image = SimpleITK.ReadImage(str(tmp_path / f"out{ending}"))
        np.testing.assert_allclose(image.GetOrigin(), AFFINE[:3, 3] * [-1, -1, 1], atol=1e-5)
    run(capsys, "relabel", candidates)
    assert (tmp_path / "vol.labels.nii.gz").is_file(), "beside the candidates"


@pytest.mark.parametrize("change", ["place", "voxels", "shape", "noise"])
def test_another_subject_under_the_same_name_is_refused(subject, candidates, capsys, change):
    voxels = np.asarray(nibabel.load(subject).dataobj)
    if change == "noise":
        subject.write_bytes(b"no volume")
    else:
        changed = {"place": voxels, "voxels": voxels[::-1], "shape": voxels[:-1]}[change]
        place = AFFINE + np.eye(4)[3] * [[1], [0], [0], [0]] if change == "place" else AFFINE
        nibabel.save(nibabel.Nifti1Image(changed, place), subject)
    line = refused(capsys, "relabel", candidates, "-o", subject.parent / "new.nii.gz")
    assert "is not the volume that the candidates were found in" in line
    assert str(subject) in line
    assert not (subject.parent / "new.nii.gz").exists()


def test_a_result_says_where_it_lies_and_what_it_was_made_of(subject, candidates):
    record = io.read_record(subject.parent / "vol.labels.nii.gz")
    assert Path(record.source) == subject
    assert len(record.checksum) == 16
    np.testing.assert_allclose(np.reshape(record.affine, (4, 4)), AFFINE, atol=1e-5)


def test_candidates_of_an_earlier_version_are_said_to_have_no_place(tmp_path, subject, candidates, capsys):
    """Whether the file of the same name is still their volume cannot be known."""
    with np.load(candidates) as file:
        content = {name: file[name] for name in file.files}
    record = json.loads(str(content["record"]))
    content["record"] = json.dumps(
        {name: v for name, v in record.items() if name not in ("checksum", "affine")}
    )
    np.savez(candidates, **content)
    said = run(capsys, "relabel", candidates, "-o", tmp_path / "out.nii.gz")
    assert "the labels have none (predict again to have it)" in said.splitlines()[0]
    assert nibabel.load(tmp_path / "out.nii.gz").affine[:3, 3].tolist() == [0, 0, 0]
    written = nibabel.load(subject.parent / "vol.labels.nii.gz")
    assert np.array_equal(
        np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj), np.asarray(written.dataobj)
    )
    assert any("hold no place" in note for note in io.read_record(tmp_path / "out.nii.gz").notes)
