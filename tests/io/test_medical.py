"""Medical formats: spacing, origin and direction of oblique volumes are those of nibabel and SimpleITK."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK

from anystar_torch import io
from tests.io.test_orientation import oblique

VOLUME = np.random.default_rng(0).integers(0, 60000, (5, 6, 7)).astype(np.uint16)  # z, y, x
SPACING = (0.7, 0.8, 2.5)  # x, y, z in millimetres
AFFINE = oblique(spacing=SPACING)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_image(array=VOLUME, affine=AFFINE, units_per_mm=1.0):
    lps = FLIP @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((steps * units_per_mm).tolist())
    image.SetOrigin((lps[:3, 3] * units_per_mm).tolist())
    image.SetDirection((lps[:3, :3] / steps).reshape(-1).tolist())
    return image


def edited(path, *lines, without=()):
    """Change the text header of an NRRD or MetaImage file."""
    content = path.read_bytes()
    end = content.index(b"\n\n" if path.suffix == ".nrrd" else b"ElementDataFile")
    header = [line for line in content[:end].split(b"\n") if not line.startswith(tuple(without))]
    added = [line.encode() for line in lines]
    header = [*header, *added] if path.suffix == ".nrrd" else [*added, *header]
    path.write_bytes(b"\n".join(header) + content[end:])


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".NRRD", ".nii", ".nii.gz"])
def test_an_oblique_volume_is_what_nibabel_and_simpleitk_say(tmp_path, ending):
    path = tmp_path / f"a{ending.lower()}"
    SimpleITK.WriteImage(itk_image(), str(path))
    theirs = SimpleITK.ReadImage(str(path))
    path = path.rename(tmp_path / f"a{ending}")
    found = io.read(path)
    assert found.array.dtype == np.uint16
    assert np.array_equal(found.array, VOLUME)
    np.testing.assert_allclose(found.spacing, np.array(SPACING[::-1]) * 1000, rtol=1e-5)
    assert found.unit == "um"
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    lps = FLIP @ found.affine
    np.testing.assert_allclose(lps[:3, 3], theirs.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose((lps[:3, :3] / SPACING).reshape(-1), theirs.GetDirection(), atol=1e-5)
    if ".nii" in ending:
        np.testing.assert_allclose(found.affine, nibabel.load(path).affine, atol=1e-5)


@pytest.mark.parametrize("source", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii.gz"])
def test_labels_are_written_at_the_same_place(tmp_path, source, target):
    SimpleITK.WriteImage(itk_image(), str(tmp_path / f"a{source}"))
    io.write(tmp_path / f"b{target}", VOLUME % 5, io.read(tmp_path / f"a{source}"))
    theirs = SimpleITK.ReadImage(str(tmp_path / f"b{target}"))
    expected = SimpleITK.ReadImage(str(tmp_path / f"a{source}"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(theirs), VOLUME % 5)
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(theirs, name)(), getattr(expected, name)(), atol=1e-4)


@pytest.mark.parametrize(
    ("unit", "per_mm"),
    [("microns", 1e3), ("um", 1e3), ("\u00b5m", 1e3), ("nm", 1e6), ("mm", 1.0), ("cm", 0.1)],
)
def test_units_of_nrrd(tmp_path, unit, per_mm):
    affine = oblique(spacing=(0.5e-3, 0.5e-3, 1e-3))
    if unit in ("mm", "cm"):
        affine = AFFINE
    path = tmp_path / "a.nrrd"
    SimpleITK.WriteImage(itk_image(affine=affine, units_per_mm=per_mm), str(path))
    edited(path, f'space units: "{unit}" "{unit}" "{unit}"')
    found = io.read(path)
    steps = np.linalg.norm(affine[:3, :3], axis=0)[::-1] * 1000
    np.testing.assert_allclose(found.spacing, steps, rtol=1e-6)
    assert found.unit == "um"
    np.testing.assert_allclose(found.affine, affine, atol=1e-8)
    io.write(tmp_path / "b.nrrd", VOLUME % 5, found)
    numbers = [SimpleITK.ReadImage(str(tmp_path / f"{name}.nrrd")) for name in "ab"]
    for name in (
        "GetSpacing",
        "GetOrigin",
        "GetDirection",
    ):  # programs that ignore units see them at one place
        np.testing.assert_allclose(getattr(numbers[1], name)(), getattr(numbers[0], name)(), rtol=1e-9)
    again = io.read_labels(tmp_path / "b.nrrd")
    assert np.array_equal(again.array, VOLUME % 5)
    np.testing.assert_allclose(again.affine, affine, atol=1e-8)
    np.testing.assert_allclose(again.spacing, found.spacing, rtol=1e-9)


def test_spacings_and_units_of_an_nrrd_without_a_space(tmp_path):
    header = "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 7 6 5\nendian: little\nencoding: raw\n"
    path = tmp_path / "a.nrrd"
    path.write_bytes(f'{header}spacings: 0.5 0.5 1\nunits: "um" "um" "um"\n\n'.encode() + VOLUME.tobytes())
    assert io.read(path).spacing == pytest.approx((1, 0.5, 0.5))
    path.write_bytes(
        f'{header}spacings: 0.5 0.5 1\nunits: "pixel" "pixel" "pixel"\n\n'.encode() + VOLUME.tobytes()
    )
    found = io.read(path)
    assert (found.spacing, found.unit, found.affine) == ((1, 0.5, 0.5), "", None)


def test_distance_units_of_metaimage(tmp_path):
    path = tmp_path / "a.mha"
    SimpleITK.WriteImage(itk_image(affine=np.diag([0.5, 0.5, 1.0, 1.0])), str(path))
    edited(path, "DistanceUnits = um")
    assert io.read(path).spacing == pytest.approx((1, 0.5, 0.5))


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_a_file_without_a_voxel_size_has_none(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".nii":
        image = nibabel.Nifti1Image(VOLUME.T, None)
        nibabel.save(image, path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOLUME), str(path))
        edited(path, without=(b"space", b"ElementSpacing", b"Offset", b"TransformMatrix"))
    found = io.read(path)
    assert np.array_equal(found.array, VOLUME)
    assert (found.spacing, found.unit, found.affine) == (None, "", None)


TARGETS = (".nrrd", ".mha", ".nii.gz", ".tif", ".ome.tif", ".npy", ".h5", ".zarr")


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_labels_of_a_volume_without_a_voxel_size_have_none(tmp_path, target, time):
    labels = np.stack([VOLUME % 5] * 2) if time else VOLUME % 5
    path = tmp_path / f"b{target}"
    io.write(path, labels, io.SpatialImage(VOLUME))
    found = io.read_labels(
        path, frame=1 if time else None, axes="TZYX" if time and target == ".npy" else None
    )
    assert np.array_equal(found.array, VOLUME % 5)
    assert (found.spacing, found.unit, found.affine) == (None, "", None)
    if target in (".nrrd", ".mha") and not time:
        theirs = SimpleITK.ReadImage(str(path))
        assert np.array_equal(SimpleITK.GetArrayFromImage(theirs), VOLUME % 5)
        assert theirs.GetSpacing() == (1, 1, 1)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != ".npy"])
def test_a_voxel_size_without_a_unit_does_not_get_one(tmp_path, target):
    path = tmp_path / f"b{target}"
    io.write(path, VOLUME % 5, io.SpatialImage(VOLUME, (4.0, 2.0, 1.0), ""), io.RunRecord(prob_thresh=0.5))
    found = io.read_labels(path)
    assert np.array_equal(found.array, VOLUME % 5)
    assert (found.spacing, found.unit, found.affine) == ((4, 2, 1), "", None)
    assert io.read_record(path).prob_thresh == 0.5
    if target in (".nrrd", ".mha", ".nii.gz"):  # other programs see the shape of the voxels
        assert SimpleITK.ReadImage(str(path)).GetSpacing() == (1, 2, 4)


def test_a_nifti_whose_sform_and_pixdim_disagree_has_the_size_of_its_place(tmp_path):
    image = nibabel.Nifti1Image(VOLUME.T, oblique(spacing=(2, 2, 3)))
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    content[80:92] = np.array([1, 1, 1], "<f4").tobytes()  # pixdim
    content[252:254] = np.array([0], "<i2").tobytes()  # qform_code
    path.write_bytes(content)
    assert nibabel.load(path).header.get_zooms() == (1, 1, 1)
    found = io.read(path)
    expected = nibabel.affines.voxel_sizes(nibabel.load(path).affine)
    np.testing.assert_allclose(found.spacing, expected[::-1] * 1000, rtol=1e-6)
    io.write(tmp_path / "b.nii", VOLUME % 5, found)
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii").affine, nibabel.load(path).affine)


def test_help_and_import_load_no_medical_library():
    code = (
        "import sys, anystar_torch, anystar_torch.cli; "
        "assert not {'torchio', 'SimpleITK', 'nibabel', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_nrrd_with_its_header_apart(tmp_path):
    SimpleITK.WriteImage(itk_image(), str(tmp_path / "a.nhdr"))
    found = io.read(tmp_path / "a.nhdr")
    assert np.array_equal(found.array, VOLUME)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    assert io.beside(tmp_path / "a.nhdr") == tmp_path / "a.labels.nrrd"
    next(path for path in tmp_path.iterdir() if ".raw" in path.name).unlink()
    with pytest.raises(ValueError, match=r"a\.nhdr"):
        io.read(tmp_path / "a.nhdr")


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_the_data_of_a_metaimage_are_there(tmp_path, capfd, damage):
    SimpleITK.WriteImage(itk_image(), str(tmp_path / "a.mhd"))
    data = tmp_path / "a.raw"
    assert np.array_equal(io.read(tmp_path / "a.mhd").array, VOLUME)
    if damage == "gone":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.mhd .*a\.raw") as refused:
        io.read(tmp_path / "a.mhd")
    assert len(str(refused.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
