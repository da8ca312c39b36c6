"""Of a large file only what is asked for is read, and no more is planned with than there is."""

import ctypes
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.io import scan

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
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2)  # one volume, and no more
    for channel in (0, 1):
        for frame in range(3):
            found = io.read(path, channel=channel, frame=frame).array
            assert np.array_equal(found, SERIES[frame, :, channel])
    assert np.array_equal(whole.array, SERIES[2, :, 1])
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2 - 1)
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
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2)
    assert np.array_equal(io.read(path, **pick).array, SERIES[1, :, 0])
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2 - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(path, **pick)


def test_all_of_an_archive_must_fit_into_memory_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((3, 20, 30, 40), np.uint8))
    monkeypatch.setattr(scan, "available_memory", lambda: 20 * 30 * 40)
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *a: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(tmp_path / "a.npz", frame=0)


def test_a_scaled_nifti_takes_eight_bytes_per_voxel(tmp_path, monkeypatch):
    image = nibabel.Nifti1Image(SERIES[0, :, 0].T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2, 1)
    nibabel.save(image, tmp_path / "a.nii")
    found = io.read(tmp_path / "a.nii").array
    monkeypatch.setattr(scan, "available_memory", lambda: found.nbytes)
    assert np.array_equal(io.read(tmp_path / "a.nii").array, found)
    monkeypatch.setattr(scan, "available_memory", lambda: found.nbytes - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(tmp_path / "a.nii")


def test_memory_is_what_the_control_group_leaves(tmp_path, monkeypatch):
    outer, inner = tmp_path / "job", tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    for group, limit, taken, cached in ((outer, "1000000", 700000, 200000), (inner, "max", 600000, 0)):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{taken}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 7\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    monkeypatch.setattr(scan, "_GROUP", own)
    assert scan._group_memory(tmp_path) == 500000  # files that were merely read give way
    (inner / "memory.max").write_text("600100\n")
    assert scan._group_memory(tmp_path) == 100
    own.write_text("0::/nowhere\n")
    assert scan._group_memory(tmp_path) > 1 << 60


def test_memory_is_what_windows_calls_available(monkeypatch):
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64), ("others", ctypes.c_uint64 * 5),
        )  # fmt: skip

    def status_of(pointer):
        status = Status.from_address(ctypes.addressof(pointer._obj))
        assert status.length == ctypes.sizeof(Status) == 64
        status.load, status.total, status.available = 40, 64 << 30, 37 << 30
        return 1

    kernel = SimpleNamespace(GlobalMemoryStatusEx=status_of)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert scan._windows_memory() == 37 << 30
    kernel.GlobalMemoryStatusEx = lambda pointer: 0
    assert scan._windows_memory() == 0


def test_a_plain_zarr_array_gives_a_plain_zarr_array(tmp_path):
    zarr = pytest.importorskip("zarr")
    image = SERIES[0, :, 0]
    for name in ("a.zarr", "store"):  # it is known by what lies in it, whatever its name
        plain = zarr.open_array(tmp_path / name, mode="w", shape=image.shape, dtype="u2")
        plain[...] = image
        plain.attrs["spacing"] = [2.0, 1.0, 1.0]
        result = io.beside(tmp_path / name)
        io.write(result, image // 2, io.read(tmp_path / name), {"objects": 3})
        back = zarr.open_array(result, mode="r")
        assert np.array_equal(back[...], image // 2)
        assert back.attrs["anystar"] == {"objects": 3}
        assert io.read_labels(result).spacing == (2.0, 1.0, 1.0)
