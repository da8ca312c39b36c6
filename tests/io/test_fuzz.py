"""Broken files: the array, or one line; no other error, no hang, no memory beyond the bound."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anystar_torch import io
from anystar_torch.io import reading

VOLUME = np.random.default_rng(0).integers(0, 60000, (6, 16, 32)).astype(np.uint16)
BOUND = 1 << 24  # bytes that may be read
OVERHEAD = 1 << 24  # bytes of the readers themselves


def _tiff(path, **options):
    tifffile.imwrite(path, VOLUME, photometric="minisblack", **options)


def _pages(path):
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(VOLUME):
            file.write(plane, contiguous=False, metadata=None, compression="zlib" if number == 2 else None)


def _zarr(path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(path, data=VOLUME, chunks=(3, 16, 16), dimension_names="zyx", zarr_format=3)
    array.attrs["spacing"] = [2.0, 1.0, 1.0]


def _ome_zarr(path):
    pytest.importorskip("zarr")
    io.write(path, VOLUME.astype(np.int64), io.SpatialImage(VOLUME, (2.0, 1.0, 1.0), "um"))


def _hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=VOLUME, chunks=(3, 16, 16), compression="gzip")
        file["raw"].attrs["element_size_um"] = [2.0, 1.0, 1.0]


def _n5(path, compression="gzip"):
    from tests.io.test_hdf5 import _n5 as write

    write(path, VOLUME, (3, 16, 16), compression)


def _lz4_n5(path):
    from tests.io import test_hdf5

    test_hdf5.COMPRESSIONS["lz4"] = ({"type": "lz4", "blockSize": 65536}, test_hdf5._lz4)
    _n5(path, "lz4")


def _blosc_n5(path):
    blosc = pytest.importorskip("numcodecs").blosc
    from tests.io import test_hdf5

    test_hdf5.COMPRESSIONS["blosc"] = (
        {"type": "blosc", "cname": "lz4"},
        lambda content: blosc.compress(content, b"lz4", 3),
    )
    _n5(path, "blosc")


def _bigdataviewer_n5(path):
    from tests.io.test_hdf5 import _n5 as write

    write(path / "setup0" / "timepoint0" / "s0", VOLUME, (3, 16, 16), "gzip")


def _bigdataviewer(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["s00/resolutions"] = np.ones((1, 3))
        file.create_dataset(
            "t00000/s00/0/cells", data=VOLUME.view(np.int16), chunks=(3, 16, 16), compression="gzip"
        )


def _ilastik(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["exported_data"] = VOLUME
        file["exported_data"].attrs["axistags"] = '{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}]}'


def _czi(path):
    from tests.io.test_bioimage import write_czi

    write_czi(path, VOLUME[None, None])


def _lif(path):
    pytest.importorskip("bioio_lif")
    from tests.io.test_bioimage import write_lif

    write_lif(path, {"a": VOLUME[None, None]})


def _itk(path, **options):
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOLUME), str(path), **options)


def _nifti(path):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(VOLUME.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def _dicom(path):
    from tests.io.test_dicom import write_series

    write_series(path, VOLUME[:3])


def _slices(path):
    path.mkdir()
    for number, plane in enumerate(VOLUME[:3]):
        tifffile.imwrite(path / f"z{number}.tif", plane)


WRITERS = {
    "plain.tif": lambda path: _tiff(path, metadata=None),
    "zlib.tif": lambda path: _tiff(path, compression="zlib"),
    "tiles.tif": lambda path: _tiff(path, tile=(16, 16), compression="zlib"),
    "mixed.tif": _pages,
    "big.tif": lambda path: _tiff(path, bigtiff=True),
    "imagej.tif": lambda path: tifffile.imwrite(
        path, VOLUME, imagej=True, metadata={"axes": "ZYX", "unit": "um"}
    ),
    "a.ome.tif": lambda path: _tiff(path, ome=True, metadata={"axes": "ZYX", "PhysicalSizeZ": 2.0}),
    "a.npy": lambda path: np.save(path, VOLUME),
    "a.npz": lambda path: np.savez_compressed(path, VOLUME),
    "a.zarr": _zarr,
    "ome.zarr": _ome_zarr,
    "a.h5": _hdf5,
    "bdv.h5": _bigdataviewer,
    "ilastik.h5": _ilastik,
    "a.n5": _n5,
    "lz4.n5": _lz4_n5,
    "blosc.n5": _blosc_n5,
    "bdv.n5": _bigdataviewer_n5,
    "a.czi": _czi,
    "a.lif": _lif,
    "slices": _slices,
    "a.nii": _nifti,
    "a.nii.gz": _nifti,
    "a.nrrd": _itk,
    "zlib.nrrd": lambda path: _itk(path, useCompression=True),
    "a.mha": _itk,
    "zlib.mha": lambda path: _itk(path, useCompression=True),
    "dicom": _dicom,
}
FILES = sorted(WRITERS)
SHORT = {name: VOLUME[:3] for name in ("dicom", "slices")}  # every plane is a file


@pytest.fixture(autouse=True)
def _bound(monkeypatch):
    monkeypatch.setattr(reading, "available_memory", lambda: BOUND)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every format, written once."""
    folder = tmp_path_factory.mktemp("whole")

    def of(name):
        path = folder / name
        if not path.exists():
            WRITERS[name](path)
        return path

    return of


def _parts(path):
    """The files of a volume that may be broken, the smallest (metadata) first."""
    found = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    return sorted(found, key=lambda inner: (inner.stat().st_size, str(inner)))


def _read(path):
    """The array, or None after one line."""
    tracemalloc.start()
    try:
        found = np.array(io.read(path).array)
    except ValueError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, line
        assert path.name in line
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * BOUND + OVERHEAD, peak
    assert found.nbytes <= BOUND
    return found


def _copied(whole, folder):
    """A copy of a volume, whose files are broken and mended."""
    target = folder / whole.name
    return Path(shutil.copytree(whole, target) if whole.is_dir() else shutil.copy(whole, target))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of libraries, about what is broken
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_whole_or_one_line(tmp_path, written, name):
    copy, expected = _copied(written(name), tmp_path), SHORT.get(name, VOLUME)
    assert np.array_equal(_read(copy), expected)
    for part in _parts(copy)[:3] + _parts(copy)[-1:]:
        content = part.read_bytes()
        for length in [*range(0, len(content), 1000), len(content) - 1]:
            part.write_bytes(content[:length])
            found = _read(copy)
            assert found is None or np.array_equal(found, expected), (part, length)
        part.write_bytes(content)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_bytes_changed_anywhere_give_an_array_or_one_line(tmp_path, written, name):
    copy = _copied(written(name), tmp_path)
    parts = _parts(copy)

    @settings(
        max_examples=20 if name in ("a.czi", "a.lif") else 60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        number=st.integers(0, len(parts) - 1),
        places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
        header=st.booleans(),
    )
    def changed(number, places, header):
        part = parts[number]
        content = part.read_bytes()
        broken = bytearray(content)
        reach = min(len(content), 400) if header else len(content)  # headers matter more than voxels
        for place, value in places:
            broken[min(int(place * reach), len(content) - 1)] = value
        part.write_bytes(broken)
        found = _read(copy)
        assert found is None or found.ndim == 3
        part.write_bytes(content)

    changed()
