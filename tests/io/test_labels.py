"""Labels of any type and size: the same objects, or one line."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

from anystar_torch import io

SHAPE = (5, 6, 7)
DENSE = np.random.default_rng(0).integers(0, 7, SHAPE)
BIG = {"2^31": 2**31 + 5, "2^53": 2**53 + 1, "2^59": 2**59 + 3, "above 2^63": 2**63 + 11}


def _write(path, labels):
    if path.suffix == ".tif":
        tifffile.imwrite(path, labels, photometric="minisblack", metadata={"axes": "ZYX"})
    elif path.suffix in (".nii", ".gz"):
        nibabel.save(nibabel.Nifti1Image(labels.T, np.eye(4), dtype=labels.dtype), path)
    elif path.suffix in (".nrrd", ".mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(path))
    elif path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        zarr.open_array(path, mode="w", shape=labels.shape, dtype=labels.dtype)[...] = labels
    else:
        np.savez(path, labels)


@pytest.mark.parametrize("offset", BIG)
@pytest.mark.parametrize("ending", [".tif", ".nii", ".nii.gz", ".nrrd", ".mha", ".npz", ".zarr"])
def test_ids_beyond_31_bits_are_read_as_they_are(tmp_path, ending, offset):
    labels = np.where(DENSE > 0, DENSE.astype(np.uint64) + np.uint64(BIG[offset]), np.uint64(0))
    _write(tmp_path / f"a{ending}", labels)
    found = io.read_labels(tmp_path / f"a{ending}").array
    assert found.dtype.kind in "ui"
    assert np.array_equal(found.astype(np.uint64), labels)
    dense = io.int32_ids(found)
    assert dense.dtype == np.int32
    assert np.array_equal(dense, DENSE)


def test_small_ids_stay_as_they_are():
    labels = (DENSE * 1000).astype(np.uint16)
    assert np.array_equal(io.int32_ids(labels), labels)
    full = DENSE.astype(np.uint64) + np.uint64(2**40)
    assert np.array_equal(io.int32_ids(full), DENSE + 1), "no voxel is background here"


@pytest.mark.parametrize("ending", [".tif", ".npz", ".nrrd"])
def test_floats_that_are_whole_up_to_rounding_are_labels(tmp_path, ending):
    _write(tmp_path / f"a{ending}", (DENSE * 1.000035).astype(np.float32))  # 2.00007 for 2
    assert np.array_equal(io.read_labels(tmp_path / f"a{ending}").array, DENSE)


def test_labels_behind_a_scale_factor_of_nifti(tmp_path):
    stored = (DENSE * 128).astype(np.int16)
    image = nibabel.Nifti1Image(stored.T, np.eye(4))
    image.header.set_slope_inter(np.float32(1.000035 / 128), 0)
    nibabel.save(image, tmp_path / "a.nii")
    raw = tmp_path / "a.nii"
    content = bytearray(raw.read_bytes())
    content[112:120] = np.array([1.000035 / 128, 0], "<f4").tobytes()  # scl_slope and scl_inter
    content[352:] = stored.T.tobytes(order="F")
    raw.write_bytes(content)
    values = np.asarray(nibabel.load(raw).dataobj)
    assert not np.array_equal(values, np.rint(values))
    assert np.array_equal(io.read_labels(raw).array, DENSE)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(SHAPE, 0.5), "fractions"),
        (np.full(SHAPE, 2.01), "fractions"),
        (np.full(SHAPE, 3e-4), "fractions near 0"),
        (np.full(SHAPE, np.nan), "no number"),
        (np.full(SHAPE, np.inf), "no number"),
        (np.full(SHAPE, 1e19), "beyond 64 bits"),
        (np.full(SHAPE, -1.0), "negative"),
        (np.full(SHAPE, -1, np.int16), "negative"),
    ],
)
def test_what_cannot_be_labels_is_one_line(tmp_path, values, words):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ValueError, match=words) as caught:
        io.read_labels(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)
    assert "a.npy" in str(caught.value)


@pytest.mark.parametrize("value", [-1, 2**31])
def test_labels_that_no_result_holds_are_not_written_as_others(tmp_path, value):
    with pytest.raises(ValueError, match="renumber them"):
        io.write(tmp_path / "a.nii.gz", np.full(SHAPE, value, np.int64), io.read(_volume(tmp_path)))
    assert not (tmp_path / "a.nii.gz").exists()


def _volume(folder):
    np.save(folder / "volume.npy", np.zeros(SHAPE, np.uint8))
    return folder / "volume.npy"
