"""Labels of stored candidates lie where their volume lies, whatever folder one is in, or nothing is written."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

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


@pytest.mark.parametrize("name", ["a/vol.nii.gz", "c.npz"])
def test_relabel_replaces_neither_the_volume_nor_the_candidates(tmp_path, subject, candidates, capsys, name):
    before = (tmp_path / name).read_bytes()
    line = refused(capsys, "relabel", candidates, "-o", tmp_path / name, "--overwrite")
    assert "would replace the input" in line
    assert (tmp_path / name).read_bytes() == before


def test_relabel_replaces_no_folder_with_other_content(tmp_path, subject, candidates, capsys):
    for folder in (tmp_path / "mine.zarr", tmp_path / "mine"):
        folder.mkdir()
        (folder / "notes.txt").write_text("of years")
    line = refused(capsys, "relabel", candidates, "-o", tmp_path / "mine.zarr", "--overwrite")
    assert "it is a folder with other content" in line
    run(capsys, "relabel", candidates, "-o", tmp_path / "mine", "--overwrite")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["notes.txt", "vol.labels.nii.gz"]
    for folder in (tmp_path / "mine.zarr", tmp_path / "mine"):
        assert (folder / "notes.txt").read_text() == "of years"


def test_relabel_of_2d_images_replaces_no_folder_with_other_content(tmp_path, model, capsys):
    folder = _planes(tmp_path / "scan")
    predict(capsys, folder, "--diameter", 13, "--candidates", tmp_path / "c.npz")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "notes.txt").write_text("of years")
    for place in (tmp_path / "thesis", folder):
        before = {path: path.read_bytes() for path in place.iterdir()}
        run(capsys, "relabel", tmp_path / "c.npz", "-o", place, "--overwrite")
        assert set(place.iterdir()) == {*before, place / "scan.labels"}
        assert all(path.read_bytes() == content for path, content in before.items())
    assert io.read(folder).array.shape == SHAPE
    run(capsys, "relabel", tmp_path / "c.npz", "--overwrite")
    found = io.read_labels(tmp_path / "scan.labels").array
    assert found.max() > 0
    shutil.rmtree(folder)
    run(capsys, "relabel", tmp_path / "c.npz")
    assert np.array_equal(io.read_labels(tmp_path / "scan.labels.tif").array, found), "the images are gone"


def _planes(folder):
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    folder.mkdir()
    for z, plane in enumerate((image * 60000).astype(np.uint16)):
        tifffile.imwrite(folder / f"{z:03d}.tif", plane)
    return folder


def test_the_library_replaces_no_folder_with_other_content_and_no_volume(tmp_path, subject):
    labels = np.ones((3, 4, 5), np.int32)
    like = io.SpatialImage(labels)
    folder = tmp_path / "mine.zarr"
    folder.mkdir()
    io.write(folder, labels, like)  # an empty folder has no content
    io.write(folder, labels + 1, like)  # an earlier result
    assert io.read_labels(folder).array.max() == 2
    other = tmp_path / "other.zarr"
    other.mkdir()
    (other / "notes.txt").write_text("of years")
    with pytest.raises(ValueError, match="it is a folder with other content"):
        io.write(other, labels, like)
    assert (other / "notes.txt").read_text() == "of years"
    volume, before = io.read(subject), subject.read_bytes()
    with pytest.raises(ValueError, match="would replace the input"):
        io.write(subject, np.ones(volume.array.shape, np.int32), volume)
    assert subject.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_labels_with_a_run_record_may_be_corrected_in_place(tmp_path):
    labels = np.ones((3, 4, 5), np.int32)
    path = tmp_path / "nuclei.labels.tif"
    io.write(path, labels, io.SpatialImage(labels), io.RunRecord())
    found = io.read_labels(path)
    io.write(path, found.array + 1, found, io.read_record(path))
    assert io.read_labels(path).array.max() == 2


@pytest.mark.parametrize("name", ["vol.h5:/raw", "vol.h5/raw"])
def test_labels_of_a_dataset_of_an_hdf5_file_are_written_as_predict_writes_them(
    tmp_path, model, capsys, name
):
    h5py = pytest.importorskip("h5py")
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "vol.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = (image * 60000).astype(np.uint16)
        file["other"] = np.zeros(SHAPE, np.uint16)
        file["raw"].attrs["element_size_um"] = [0.5, 0.5, 0.5]
    kept = tmp_path / "c.npz"
    predict(capsys, f"{path.parent}/{name}", "--diameter", 13, "--candidates", kept)
    written = path.with_name("vol.raw.labels.h5")
    first = io.read_labels(written).array
    assert first.max() > 0
    written.unlink()
    run(capsys, "relabel", kept)
    assert np.array_equal(io.read_labels(written).array, first)
    assert "would replace the input" in refused(capsys, "relabel", kept, "-o", path, "--overwrite")
    with h5py.File(path, "a") as file:
        file["raw"][0] = 1
    line = refused(capsys, "relabel", kept, "-o", tmp_path / "new.h5")
    assert "is not the volume that the candidates were found in" in line
    shutil.rmtree(path.parent)
    run(capsys, "relabel", kept)
    assert np.array_equal(io.read_labels(tmp_path / "vol.raw.labels.h5").array, first), (
        "beside the candidates"
    )


def test_a_level_of_an_image_is_no_reason_to_replace_the_image(tmp_path):
    pytest.importorskip("zarr")
    labels = np.ones((3, 4, 5), np.int32)
    path = tmp_path / "image.ome.zarr"
    io.write(path, labels, io.SpatialImage(labels))
    with pytest.raises(ValueError, match="would replace the input"):
        io.write(path, labels + 1, io.read(path / "0"))
    assert io.read(path).array.max() == 1
