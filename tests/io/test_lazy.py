"""Of a large file only what is asked for is read, and no more is planned with than there is."""

import nibabel
import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.io import reading

SERIES = np.random.default_rng(0).integers(0, 60000, (3, 4, 2, 16, 17)).astype(np.uint16)  # T Z C Y X


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{"ome": True, "compression": "zlib"}, {"ome": True}, {"imagej": True}])
def test_a_frame_of_a_tiff_is_read_without_the_others(tmp_path, monkeypatch, options, byteorder):
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    order = byteorder if "ome" in options else ">"
    tifffile.imwrite(path, SERIES, metadata={"axes": "TZCYX"}, byteorder=order, **options)
    whole = io.read(path, channel=1, frame=2)

    def all_of_it(*args, **kwargs):
        raise AssertionError("the whole series was read")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", all_of_it)
    monkeypatch.setattr(reading, "available_memory", lambda: 4 * 16 * 17 * 2)  # one volume, and no more
    for channel in (0, 1):
        for frame in range(3):
            found = io.read(path, channel=channel, frame=frame).array
            assert np.array_equal(found, SERIES[frame, :, channel])
    assert np.array_equal(whole.array, SERIES[2, :, 1])
    monkeypatch.setattr(reading, "available_memory", lambda: 4 * 16 * 17 * 2 - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(path, channel=0, frame=0)


def test_a_series_that_cannot_be_cut_is_read_whole(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        SERIES[:, :, 0],
        tile=(16, 16),
        volumetric=True,
        photometric="minisblack",
        metadata={"axes": "TZYX"},
    )
    assert np.array_equal(io.read(path, frame=1).array, SERIES[1, :, 0])


def _movie(path):
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        zarr.open_array(path, mode="w", shape=SERIES[:, :, 0].shape, chunks=(1, 4, 16, 17), dtype="u2")[
            ...
        ] = SERIES[:, :, 0]
    elif path.suffix == ".nii":
        nibabel.save(nibabel.Nifti1Image(SERIES[:, :, 0].T, np.eye(4)), path)
    else:
        np.save(path, SERIES[:, :, 0])


@pytest.mark.parametrize("ending", [".npy", ".nii", ".zarr"])
def test_of_a_movie_only_the_frame_must_fit_into_memory(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a{ending}"
    _movie(path)
    pick = {"channel": 1} if ending == ".zarr" else {"frame": 1}  # a plain array does not name its first axis
    monkeypatch.setattr(reading, "available_memory", lambda: 4 * 16 * 17 * 2)
    assert np.array_equal(io.read(path, **pick).array, SERIES[1, :, 0])
    monkeypatch.setattr(reading, "available_memory", lambda: 4 * 16 * 17 * 2 - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(path, **pick)


def test_all_of_an_archive_must_fit_into_memory_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((3, 20, 30, 40), np.uint8))
    monkeypatch.setattr(reading, "available_memory", lambda: 20 * 30 * 40)
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *a: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(tmp_path / "a.npz", frame=0)


def test_a_scaled_nifti_takes_eight_bytes_per_voxel(tmp_path, monkeypatch):
    image = nibabel.Nifti1Image(SERIES[0, :, 0].T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2, 1)
    nibabel.save(image, tmp_path / "a.nii")
    found = io.read(tmp_path / "a.nii").array
    monkeypatch.setattr(reading, "available_memory", lambda: found.nbytes)
    assert np.array_equal(io.read(tmp_path / "a.nii").array, found)
    monkeypatch.setattr(reading, "available_memory", lambda: found.nbytes - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(tmp_path / "a.nii")


def test_a_plain_zarr_array_gives_a_plain_zarr_array(tmp_path):
    zarr = pytest.importorskip("zarr")
    image = SERIES[0, :, 0]
    for name in ("a.zarr", "store"):  # it is known by what lies in it, whatever its name
        plain = zarr.open_array(tmp_path / name, mode="w", shape=image.shape, dtype="u2")
        plain[...] = image
        plain.attrs["spacing"] = [2.0, 1.0, 1.0]
        result = io.beside(tmp_path / name)
        io.write(result, image // 2, io.read(tmp_path / name), io.RunRecord(objects=3))
        back = zarr.open_array(result, mode="r")
        assert np.array_equal(back[...], image // 2)
        assert back.attrs["anystar"]["objects"] == 3
        assert io.read_labels(result).spacing == (2.0, 1.0, 1.0)
    io.write(
        tmp_path / "b.ome.zarr", image // 2, io.read(tmp_path / "store")
    )  # but for a name that says otherwise
    assert "multiscales" in zarr.open_group(tmp_path / "b.ome.zarr", mode="r").attrs["ome"]
    assert io.read_labels(tmp_path / "b.ome.zarr").spacing == (2.0, 1.0, 1.0)
