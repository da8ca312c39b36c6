"""Truth and prediction whose axes run in different directions: compared in space, as nibabel's canonical axes are."""

import itertools
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from anystar_torch import io
from tests.cli.conftest import run

LABELS = np.random.default_rng(0).integers(0, 5, (4, 6, 7)).astype(np.int16)  # x, y, z
ANGLES = np.deg2rad([12, -8, 20])  # about z, y and x
TURNS = list(itertools.product(itertools.permutations(range(3)), [(1, 1, 1), (-1, 1, 1), (1, -1, -1)]))


def oblique(spacing=(0.5, 0.6, 2.0), origin=(10.0, -20.0, 33.0)):
    """An affine that no axis of which runs along one of space."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(ANGLES), np.sin(ANGLES)
    turn = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]]) @ np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    turn = turn @ np.array([[1, 0, 0], [0, cc, -sc], [0, sc, cc]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, origin
    return affine


def stored_otherwise(labels, affine, order, signs):
    """The same labels in the same place with other axes, and their affine."""
    turn = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    array = nibabel.orientations.apply_orientation(labels, turn)
    return array, affine @ nibabel.orientations.inv_ornt_aff(turn, labels.shape)


@pytest.mark.parametrize(("order", "signs"), TURNS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_volume_stored_otherwise_is_the_same_volume(tmp_path, order, signs, ending):
    affine = oblique()
    array, turned = stored_otherwise(LABELS, affine, order, signs)
    for name, data, place in (("a", LABELS, affine), ("b", array, turned)):
        nibabel.save(nibabel.Nifti1Image(data, place), tmp_path / f"{name}.nii.gz")
    if ending != ".nii.gz":
        labels = io.read_labels(tmp_path / "b.nii.gz")
        io.write(tmp_path / "b.nrrd", labels.array, replace(labels, geometry=None))
    one, other = io.read_labels(tmp_path / "a.nii.gz"), io.read_labels(tmp_path / f"b{ending}")
    found = io.reoriented(other, like=one)
    assert np.array_equal(found.array, one.array)
    np.testing.assert_allclose(found.affine, one.affine, atol=1e-4)
    np.testing.assert_allclose(found.spacing, one.spacing, rtol=1e-5)


def test_other_places_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique()), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique(origin=(10, -20, 36))), tmp_path / "b.nii.gz")
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique(spacing=(0.5, 0.6, 3.0))), tmp_path / "c.nii.gz")
    for name in "bc":
        with pytest.raises(ValueError, match="lie at different places") as caught:
            io.reoriented(io.read_labels(tmp_path / f"{name}.nii.gz"), io.read_labels(tmp_path / "a.nii.gz"))
        assert "\n" not in str(caught.value)


def test_without_a_place_voxels_are_compared_as_they_are(tmp_path):
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique()), tmp_path / "a.nii.gz")
    np.save(tmp_path / "b.npy", LABELS.T)
    one, other = io.read_labels(tmp_path / "a.nii.gz"), io.read_labels(tmp_path / "b.npy")
    assert np.array_equal(io.reoriented(other, one).array, one.array)


@pytest.mark.parametrize(("order", "signs"), [((0, 1, 2), (-1, 1, 1)), ((2, 0, 1), (1, 1, -1))])
def test_evaluate_compares_in_space(tmp_path, capsys, order, signs):
    array, turned = stored_otherwise(LABELS, oblique(), order, signs)
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique()), tmp_path / "truth.nii.gz")
    nibabel.save(nibabel.Nifti1Image(array, turned), tmp_path / "prediction.nii.gz")
    said = run(capsys, "evaluate", tmp_path / "truth.nii.gz", tmp_path / "prediction.nii.gz", "--json")
    assert '"f1": 1.0' in said


def test_evaluate_refuses_another_place_in_one_line(tmp_path, capsys):
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique()), tmp_path / "truth.nii.gz")
    nibabel.save(nibabel.Nifti1Image(LABELS, oblique(origin=(0, 0, 0))), tmp_path / "other.nii.gz")
    line = run(capsys, "evaluate", tmp_path / "truth.nii.gz", tmp_path / "other.nii.gz", status=2)
    assert "lie at different places" in line
    assert len(line.strip().splitlines()) == 1
