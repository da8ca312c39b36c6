"""A voxel size that the caller gave, and renamed axes, in NIfTI, NRRD and MetaImage labels."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from anystar_torch import io
from tests.io.test_medical import AFFINE, SPACING, VOLUME, edited, itk_image


def _written(folder, target, found):
    path = folder / f"b{target}"
    io.write(path, (found.array % 5).astype(np.uint16), found)
    assert np.array_equal(io.read(path).array, found.array % 5)
    return path


@pytest.mark.parametrize("source", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii.gz"])
def test_a_given_voxel_size_replaces_that_of_the_file(tmp_path, source, target):
    image = itk_image()
    SimpleITK.WriteImage(image, str(tmp_path / f"a{source}"))
    found = io.read(tmp_path / f"a{source}", spacing=(3000, 1600, 400))
    theirs = SimpleITK.ReadImage(str(_written(tmp_path, target, found)))
    np.testing.assert_allclose(theirs.GetSpacing(), (0.4, 1.6, 3), rtol=1e-5)
    np.testing.assert_allclose(theirs.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(theirs.GetDirection(), image.GetDirection(), atol=1e-4)
    assert io.read(tmp_path / f"b{target}").spacing == pytest.approx((3000, 1600, 400), rel=1e-5)


def test_a_given_voxel_size_is_written_in_the_unit_of_an_nrrd(tmp_path):
    path = tmp_path / "a.nrrd"
    SimpleITK.WriteImage(itk_image(), str(path))
    edited(path, 'space units: "um" "um" "um"')
    for without in ((), (b"space directions", b"space origin")):
        edited(path, without=without)
        theirs = SimpleITK.ReadImage(str(_written(tmp_path, ".nrrd", io.read(path, spacing=(3, 2, 1)))))
        np.testing.assert_allclose(theirs.GetSpacing(), (1, 2, 3), rtol=1e-6)
        assert io.read(tmp_path / "b.nrrd").spacing == pytest.approx((3, 2, 1))


def nifti(
    path, array=VOLUME, affine=AFFINE, *, sform=2, qform=1, unit="mm", sizes=None, kind=nibabel.Nifti1Image
):
    """A NIfTI file; ``sizes`` are those of a header without a place."""
    image = kind(array.T, None if sizes else affine)
    if sizes:
        image.header.set_zooms(sizes)
    else:
        image.set_sform(affine, sform)
        image.set_qform(affine, qform)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("codes", [(2, 1), (0, 1), (4, 0)])
@pytest.mark.parametrize(("unit", "per_mm"), [("mm", 1), ("micron", 1000)])
def test_codes_and_units_of_a_nifti_are_kept_with_another_voxel_size(tmp_path, codes, unit, per_mm):
    affine = np.diag([per_mm] * 3 + [1]) @ AFFINE
    kind = nibabel.Nifti2Image
    nifti(tmp_path / "a.nii", affine=affine, sform=codes[0], qform=codes[1], unit=unit, kind=kind)
    _written(tmp_path, ".nii", io.read(tmp_path / "a.nii", spacing=(3000, 1600, 400)))
    back = nibabel.load(tmp_path / "b.nii")
    expected = affine @ np.diag([0.4 / 0.7, 2.0, 1.2, 1])
    for code, transform in zip(codes, (back.get_sform(), back.get_qform()), strict=True):
        if code:
            np.testing.assert_allclose(transform, expected, rtol=1e-4, atol=1e-4 * per_mm)
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == codes
    assert back.header.get_xyzt_units()[0] == unit
    assert back.header.get_zooms() == pytest.approx(np.array([0.4, 1.6, 3]) * per_mm, rel=1e-4)
    assert isinstance(back, kind)


def test_two_transforms_of_a_nifti_are_both_kept(tmp_path):
    nifti(tmp_path / "a.nii")
    source = nibabel.load(tmp_path / "a.nii")
    template = AFFINE.copy()
    template[:3, 3] += 100
    source.set_sform(template, 4)
    nibabel.save(source, tmp_path / "two.nii")
    for given, steps in ((None, np.eye(4)), ((3000, 1600, 400), np.diag([0.4 / 0.7, 2, 1.2, 1]))):
        _written(tmp_path, ".nii", io.read(tmp_path / "two.nii", spacing=given))
        back = nibabel.load(tmp_path / "b.nii")
        np.testing.assert_allclose(back.get_sform(), template @ steps, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(back.get_qform(), AFFINE @ steps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", ["unknown", "mm", "micron"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (0.5, 0.6, 0.7)])
@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii.gz"])
def test_a_nifti_without_a_place_gets_the_given_voxel_size(tmp_path, unit, sizes, target):
    path = nifti(tmp_path / "a.nii", unit=unit, sizes=sizes)
    _written(tmp_path, target, io.read(path, spacing=(3000, 1600, 400)))
    assert io.read(tmp_path / f"b{target}").spacing == pytest.approx((3000, 1600, 400))
    if target == ".nii.gz":
        back = nibabel.load(tmp_path / "b.nii.gz")
        expected = np.array([0.4, 1.6, 3]) * (1000 if unit == "micron" else 1)
        assert np.abs(np.diag(back.affine)[:3]) == pytest.approx(expected)
        # The labels lie over the image in programs that assume a place.
        assert (back.header["sform_code"], back.header["qform_code"]) == (0, 0)


@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("placed", [True, False])
def test_the_voxel_size_goes_with_the_renamed_axes_of_a_nifti(tmp_path, target, placed):
    path = nifti(tmp_path / "a.nii", sizes=None if placed else SPACING)
    found = io.read(path, axes="ZYX")  # the file is stored z first
    assert np.array_equal(found.array, VOLUME.T)
    assert found.spacing == pytest.approx((700, 800, 2500), rel=1e-5)
    theirs = SimpleITK.ReadImage(str(_written(tmp_path, target, found)))
    np.testing.assert_allclose(theirs.GetSpacing(), (2.5, 0.8, 0.7), rtol=1e-5)
    if placed:
        original = SimpleITK.ReadImage(str(path))
        for index in ((0, 0, 0), (1, 2, 3), (4, 5, 6)):
            there = original.TransformIndexToPhysicalPoint(index[::-1])
            assert theirs.TransformIndexToPhysicalPoint(index) == pytest.approx(there, abs=1e-4)


def test_ratios_stay_ratios_when_a_nifti_is_written_again(tmp_path):
    io.write(tmp_path / "a.nii", VOLUME % 5, io.SpatialImage(VOLUME, (4.0, 2.0, 1.0), ""))
    io.write(tmp_path / "b.nii", VOLUME % 5, io.read(tmp_path / "a.nii"), io.RunRecord(prob_thresh=0.5))
    found = io.read(tmp_path / "b.nii")
    assert (found.spacing, found.unit, found.affine) == ((4, 2, 1), "", None)


@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("placed", [True, False])
def test_a_time_series_keeps_its_time_step_with_another_voxel_size(tmp_path, target, placed):
    series = np.stack([VOLUME, VOLUME + 1])
    path = nifti(tmp_path / "a.nii", series, sizes=None if placed else (*SPACING, 1.0))
    source = nibabel.load(path)
    source.header["pixdim"][4] = 7
    nibabel.save(source, path)
    found = io.read(path, frame=1, spacing=(3000, 1600, 400))
    io.write(tmp_path / f"b{target}", series % 5, found)
    again = io.read(tmp_path / f"b{target}", frame=1)
    assert np.array_equal(again.array, series[1] % 5)
    assert again.spacing == pytest.approx((3000, 1600, 400), rel=1e-5)
    if target == ".nii.gz":
        assert nibabel.load(tmp_path / "b.nii.gz").header.get_zooms()[3] == 7
