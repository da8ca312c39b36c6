"""DICOM series: sorted by position, placed as SimpleITK says, and refused where slices are not a regular grid."""

import shutil

import numpy as np
import pytest
import SimpleITK

from anystar_torch import io
from tests.cli.conftest import model, predict  # noqa: F401 - a fixture
from tests.inference.scenes import balls, lattice

VOLUME = np.random.default_rng(0).integers(-500, 3000, (6, 7, 8)).astype(np.int16)
SPACING = (0.7, 0.8, 2.5)  # x, y, z
ROWS, COLUMNS = np.array([0.96, 0.28, 0.0]), np.array([-0.28 * 0.8, 0.96 * 0.8, 0.6])


def write_series(folder, volume=VOLUME, spacing=SPACING, *, series="1.2.3", skip=(), shear=0.0, names=None):
    """Files in an order that is not that of their positions; oblique unless ``shear`` tilts them."""
    folder.mkdir(exist_ok=True)
    normal = np.cross(ROWS, COLUMNS)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    order = np.random.default_rng(1).permutation(len(volume))
    for z, plane in enumerate(volume):
        if z in skip:
            continue
        image = SimpleITK.GetImageFromArray(plane[None])
        image.SetSpacing(spacing)
        image.SetDirection(np.stack([ROWS, COLUMNS, normal], axis=1).reshape(-1).tolist())
        image.SetOrigin((np.array([10.0, -20, 30]) + z * spacing[2] * normal + z * shear * COLUMNS).tolist())
        for key, value in (("0020|000e", series), ("0008|0060", "CT"), ("0020|0013", str(order[z]))):
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{names or 'i'}{order[z]:03d}.dcm"))
        writer.Execute(image)
    return folder


def oracle(folder):
    """SimpleITK's own reader of a series, given the files by position."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def refused(path, *words):
    with pytest.raises(ValueError, match=words[0]) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_an_oblique_series_is_what_simpleitk_says(tmp_path):
    folder = write_series(tmp_path / "ct")
    theirs = oracle(folder)
    found = io.read(folder)
    assert np.array_equal(found.array, VOLUME)
    assert np.array_equal(found.array, SimpleITK.GetArrayFromImage(theirs))
    np.testing.assert_allclose(found.spacing, np.array(theirs.GetSpacing()[::-1]) * 1000, rtol=1e-5)
    lps = np.diag([-1, -1, 1, 1]) @ found.affine
    np.testing.assert_allclose(lps[:3, 3], theirs.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose((lps[:3, :3] / SPACING).reshape(-1), theirs.GetDirection(), atol=1e-4)


@pytest.mark.parametrize("ending", [".dcm", ""])
def test_one_file_names_its_series(tmp_path, ending):
    folder = write_series(tmp_path / "ct")
    write_series(folder, VOLUME[:4] + 1, series="1.2.4", names="other")
    for path in folder.iterdir():
        path.rename(path.with_suffix(ending))
    refused(folder, "holds 2 DICOM series", "name one file")
    assert np.array_equal(io.read(folder / f"i000{ending}").array, VOLUME)
    assert np.array_equal(io.read(folder / f"other000{ending}").array, VOLUME[:4] + 1)


def test_rescaled_values_are_simpleitks(tmp_path):
    folder = tmp_path / "ct"
    write_series(folder)
    theirs = SimpleITK.GetArrayFromImage(oracle(folder))
    assert io.read(folder).array.dtype == theirs.dtype


def test_a_gantry_tilt_is_refused(tmp_path):
    refused(write_series(tmp_path / "ct", shear=0.5), "gantry is tilted by 11.3 degrees")


@pytest.mark.parametrize("skip", [(2,), (3, 4), (1, 2, 3)])
def test_missing_slices_are_refused(tmp_path, skip):
    refused(write_series(tmp_path / "ct", skip=skip), "slices are missing", "mm between")


def test_two_slices_at_one_position_are_refused(tmp_path):
    folder = write_series(tmp_path / "ct")
    write_series(folder, VOLUME + 1, names="again")
    refused(folder, "lie at one position")


def test_slices_of_other_sizes_and_single_slices_are_refused(tmp_path):
    folder = write_series(tmp_path / "ct")
    write_series(folder, np.zeros((1, 7, 9), np.int16), names="wide")
    refused(folder, "voxels, and")
    refused(write_series(tmp_path / "one", VOLUME[:1]), "one DICOM slice")


def test_damaged_files_are_one_line(tmp_path):
    folder = write_series(tmp_path / "ct")
    path = next(folder.iterdir())
    content = path.read_bytes()
    for length in (132, 140, 300, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        refused(folder, "DICOM")
    path.write_bytes(content)
    assert io.read(folder).array.shape == VOLUME.shape


def _element(group, element, kind, value):
    value = value.encode() + b"\0" * (len(value) % 2)
    return np.array((group, element), "<u2").tobytes() + kind + len(value).to_bytes(2, "little") + value


def _write_contours(path):
    """A DICOM object without an image (RTSTRUCT), as radiotherapy and PACS put beside the slices."""
    kind, syntax = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.1.2.1"
    header = _element(2, 2, b"UI", kind) + _element(2, 3, b"UI", "1.2.9.1") + _element(2, 0x10, b"UI", syntax)
    content = _element(8, 0x16, b"UI", kind) + _element(0x20, 0xE, b"UI", "1.2.9")
    path.write_bytes(b"\0" * 128 + b"DICM" + header + content)


def test_objects_without_an_image_beside_the_slices_are_left_out(tmp_path):
    folder = write_series(tmp_path / "ct")
    _write_contours(folder / "RS.dcm")
    assert np.array_equal(io.read(folder).array, VOLUME)
    assert np.array_equal(io.read(folder / "i000.dcm").array, VOLUME)
    refused(folder / "RS.dcm", "holds no image")
    cut = folder / "i005.dcm"
    cut.write_bytes(cut.read_bytes()[:400])  # the last slice: without it no distance is wrong
    refused(folder, "i005.dcm cannot be read as DICOM")
    (tmp_path / "alone").mkdir()
    _write_contours(tmp_path / "alone" / "RS.dcm")
    refused(tmp_path / "alone", "holds no image")


def test_a_series_in_colour_beside_the_slices_is_another_series(tmp_path):
    folder = write_series(tmp_path / "ct")
    picture = SimpleITK.GetImageFromArray(np.zeros((1, 7, 8, 3), np.uint8), isVector=True)
    picture.SetMetaData("0020|000e", "1.2.9")
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / "a_screenshot.dcm"))
    writer.Execute(picture)
    refused(folder, "holds 2 DICOM series", "name one file")
    assert np.array_equal(io.read(folder / "i000.dcm").array, VOLUME)


def test_of_a_series_only_one_volume_must_fit_into_memory(tmp_path, monkeypatch):
    from anystar_torch.io import reading

    folder = write_series(tmp_path / "ct")
    needed = io.read(folder).array.nbytes
    monkeypatch.setattr(reading, "available_memory", lambda: needed)
    io.read(folder)
    monkeypatch.setattr(reading, "available_memory", lambda: needed - 1)
    refused(folder, "of memory are free")


def _rename_spacing(folder, new):
    """Give the PixelSpacing of every file of a series the tag ``new`` (group, element)."""
    value = (6).to_bytes(4, "little") + rb".8\.7"
    old, new = (np.array(tag, "<u2").tobytes() + value for tag in ((0x28, 0x30), new))
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))


def test_a_series_without_the_distance_of_its_pixels_is_refused_unless_it_is_given(tmp_path):
    folder = write_series(tmp_path / "ct")
    _rename_spacing(folder, (0x28, 0x35))
    words = r"PixelSpacing \(0028,0030\)", r"ImagerPixelSpacing \(0018,1164\)", "spacing=", "NIfTI"
    for word in words:
        with pytest.raises(ValueError, match=word) as caught:
            io.read(folder)
        with pytest.raises(ValueError, match=word):
            io.open_volume(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)
    for found in (
        io.read(folder, spacing=(2500, 800, 700)),
        io.open_volume(folder, spacing=(2500, 800, 700)).read(),
    ):
        assert np.array_equal(found.array, VOLUME)
        assert (found.spacing, found.unit) == ((2500, 800, 700), "um")
        io.write(tmp_path / "b.nii.gz", found.array % 5, found)
        assert io.read(tmp_path / "b.nii.gz").spacing == pytest.approx((2500, 800, 700))
    assert io.read_labels(write_series(tmp_path / "labels", VOLUME % 5)).spacing is not None
    _rename_spacing(tmp_path / "labels", (0x28, 0x35))
    labels = io.read_labels(tmp_path / "labels")
    assert (labels.spacing, labels.affine) == (None, None)


def test_the_distance_of_pixels_on_the_detector_counts_where_there_is_no_other(tmp_path):
    folder = write_series(tmp_path / "ct")
    _rename_spacing(folder, (0x18, 0x1164))
    assert io.read(folder).spacing == pytest.approx((2500, 800, 700))


@pytest.mark.long
def test_labels_of_a_series_lie_at_its_place(tmp_path, model, capsys):  # noqa: F811
    shape = (24, 28, 32)
    image, _ = balls(shape, lattice(shape, 16))
    folder = write_series(tmp_path / "ct", (image * 3000).astype(np.int16), (0.5, 0.5, 0.5))
    theirs = oracle(folder)
    predict(capsys, folder / "i000.dcm", "--diameter", 13)
    io.write(io.beside(folder), image.astype(np.uint16), io.read(folder))
    for written in ("ct/i000.labels.nii.gz", "ct.labels.nii.gz"):
        labels = SimpleITK.ReadImage(str(tmp_path / written))
        assert SimpleITK.GetArrayFromImage(labels).max() > 0
        for name in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(labels, name)(), getattr(theirs, name)(), atol=1e-4)
    shutil.rmtree(folder)
