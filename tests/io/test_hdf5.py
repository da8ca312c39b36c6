"""HDF5 in and out, ilastik's and BigDataViewer's layouts, and N5: h5py and files written by hand are the oracle."""

import base64
import bz2
import gzip
import json
import lzma
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from anystar_torch import io

h5py = pytest.importorskip("h5py")
VOLUME = np.random.default_rng(0).integers(0, 60000, (5, 7, 9)).astype(np.uint16)  # Z Y X
SERIES = np.random.default_rng(1).integers(0, 60000, (2, 3, 5, 7, 9)).astype(np.uint16)  # T C Z Y X


def test_a_file_with_one_volume_needs_no_name_of_a_dataset(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw/data"] = VOLUME
        file["raw/table"] = np.arange(5)
    assert np.array_equal(io.read(tmp_path / "a.h5").array, VOLUME)
    for name in ("a.h5:/raw/data", "a.h5:raw/data", "a.h5/raw/data", "a.h5://raw/data"):
        assert np.array_equal(io.read(tmp_path / name).array, VOLUME)


def test_of_several_volumes_one_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["other/raw"] = VOLUME, VOLUME + 1
    with pytest.raises(ValueError, match=r"a\.h5 holds 2 datasets .*name one, as in .*a\.h5:/other/raw"):
        io.read(tmp_path / "a.h5")
    assert np.array_equal(io.read(tmp_path / "a.h5:/other/raw").array, VOLUME + 1)
    for name in ("nothing", "other"):
        with pytest.raises(ValueError, match=f"no dataset {name}; it has other/raw, raw"):
            io.read(tmp_path / f"a.h5:/{name}")
    with pytest.raises(ValueError, match=r"there is no file .*b\.h5"):
        io.read(tmp_path / "b.h5:/raw")


def test_results_lie_beside_the_file_and_name_the_dataset():
    assert io.beside(Path("x/a.h5:/vol/raw")) == Path("x/a.vol-raw.labels.h5")
    assert io.beside(Path("x/a.hdf5")) == Path("x/a.labels.hdf5")
    assert io.kind_of(Path("a.h5:/vol/raw.tif")) == ".h5"
    assert io.container(Path("x/a.h5:/vol")) == Path("x/a.h5")


@pytest.mark.parametrize("order", ["tczyx", "xyzct", "tzyxc", "zyxtc"])
def test_axes_of_ilastik(tmp_path, order):
    """Axis tags as vigra writes them."""
    tags = {"axes": [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in order]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exported_data"] = SERIES.transpose(["tczyx".index(letter) for letter in order])
        file["exported_data"].attrs["axistags"] = json.dumps(tags)
    assert io.frames(tmp_path / "a.h5") == 2
    assert np.array_equal(io.read(tmp_path / "a.h5", frame=1, channel=2).array, SERIES[1, 2])


def test_labels_of_dimensions_and_voxel_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = VOLUME.transpose(2, 1, 0)
        for dimension, label in zip(file["raw"].dims, "xyz", strict=True):
            dimension.label = label
        file["raw"].attrs["element_size_um"] = [2.0, 0.5, 0.25]
    found = io.read(tmp_path / "a.h5")
    assert np.array_equal(found.array, VOLUME)
    assert (found.spacing, found.unit) == ((2.0, 0.5, 0.25), "um")


@pytest.mark.parametrize("unit", ["um", ""])
@pytest.mark.parametrize("ending", [".h5", ".hdf5"])
def test_labels_are_written_and_read_back(tmp_path, unit, ending):
    labels = (VOLUME % 300).astype(np.int64)
    image = io.SpatialImage(VOLUME, (2.0, 0.5, 0.25), unit)
    record = io.RunRecord(prob_thresh=0.4, objects=3)
    io.write(tmp_path / f"a{ending}", labels, image, record)
    with h5py.File(tmp_path / f"a{ending}") as file:
        assert list(file) == ["labels"]
        assert np.array_equal(file["labels"][...], labels)
        assert [dimension.label for dimension in file["labels"].dims] == ["z", "y", "x"]
        if unit:
            assert file["labels"].attrs["element_size_um"].tolist() == [2.0, 0.5, 0.25]
    back = io.read_labels(tmp_path / f"a{ending}")
    assert np.array_equal(back.array, labels)
    assert (back.spacing, back.unit) == ((2.0, 0.5, 0.25), unit)
    assert io.read_record(tmp_path / f"a{ending}") == record
    io.write(tmp_path / f"b{ending}", np.stack([labels, labels + 1]), image)
    assert np.array_equal(io.read_labels(tmp_path / f"b{ending}", frame=1).array, labels + 1)


def test_only_the_frame_that_is_asked_for_is_read(tmp_path, monkeypatch):
    from anystar_torch.io import reading

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = SERIES
    monkeypatch.setattr(reading, "available_memory", lambda: VOLUME.nbytes)
    assert np.array_equal(io.read(tmp_path / "a.h5", frame=1, channel=0).array, SERIES[1, 0])
    monkeypatch.setattr(reading, "available_memory", lambda: VOLUME.nbytes - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(tmp_path / "a.h5", frame=1, channel=0)


def _bigdataviewer(path, times=2, setups=3):
    _bigdataviewer_xml(path, setups)
    with h5py.File(path, "w") as file:
        for setup in range(setups):
            file[f"s{setup:02}/resolutions"] = np.ones((2, 3))
            for time in range(times):
                cells = SERIES[time, setup].view(
                    np.int16
                )  # the format keeps 16 bits without sign in the signed type
                file[f"t{time:05}/s{setup:02}/0/cells"] = cells
                file[f"t{time:05}/s{setup:02}/1/cells"] = cells[::2, ::2, ::2]


def _bigdataviewer_xml(path, setups=3):
    size = "<voxelSize><unit>\u00b5m</unit><size>0.25 0.5 2.0</size></voxelSize>"
    views = "".join(f"<ViewSetup><id>{setup}</id>{size}</ViewSetup>" for setup in range(setups))
    path.with_suffix(".xml").write_text(
        f"<SpimData><ViewSetups>{views}</ViewSetups></SpimData>", encoding="utf-8"
    )


def test_time_points_and_setups_of_bigdataviewer(tmp_path):
    _bigdataviewer(tmp_path / "a.h5")
    assert io.frames(tmp_path / "a.h5") == 2
    for time in range(2):
        for setup in range(3):
            found = io.read(tmp_path / "a.h5", frame=time, channel=setup)
            assert found.array.dtype == np.uint16
            assert np.array_equal(found.array, SERIES[time, setup])
            assert (found.spacing, found.unit) == ((2.0, 0.5, 0.25), "um")
    (tmp_path / "a.xml").unlink()
    assert io.read(tmp_path / "a.h5", frame=0, channel=0).spacing is None
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["t00001/s02/0/cells"]
    with pytest.raises(ValueError, match=r"a\.h5 holds no volume t00001/s02/0/cells"):
        io.read(tmp_path / "a.h5", frame=0, channel=0)


COMPRESSIONS = {
    "raw": ({"type": "raw"}, bytes),
    "gzip": ({"type": "gzip", "useZlib": False, "level": -1}, gzip.compress),
    "zlib": ({"type": "gzip", "useZlib": True, "level": -1}, zlib.compress),
    "bzip2": ({"type": "bzip2", "blockSize": 9}, bz2.compress),
    "xz": ({"type": "xz", "preset": 6}, lzma.compress),
}


def _n5(path, array, block=(2, 3, 4), compression="raw", **attributes):
    """An N5 array by its specification: x first, big-endian blocks with their sizes before them."""
    about, compress = COMPRESSIONS[compression]
    path.mkdir(parents=True)
    sizes = {
        "dimensions": list(array.shape[::-1]),
        "blockSize": list(block[::-1]),
        "dataType": str(array.dtype),
    }
    (path / "attributes.json").write_text(json.dumps({**sizes, "compression": about, **attributes}))
    for z in range(0, array.shape[0], block[0]):
        for y in range(0, array.shape[1], block[1]):
            for x in range(0, array.shape[2], block[2]):
                part = array[z : z + block[0], y : y + block[1], x : x + block[2]]
                name = path / str(x // block[2]) / str(y // block[1]) / str(z // block[0])
                name.parent.mkdir(parents=True, exist_ok=True)
                content = compress(part.astype(part.dtype.newbyteorder(">")).tobytes())
                name.write_bytes(struct.pack(">HH3I", 0, 3, *part.shape[::-1]) + content)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("block", [(2, 3, 4), (5, 7, 9), (64, 64, 64)])
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_n5_arrays(tmp_path, compression, block, kind):
    image = VOLUME.astype(kind)
    _n5(tmp_path / "a.n5" / "raw" / "s0", image, block, compression)
    _n5(tmp_path / "a.n5" / "raw" / "s1", image[::2, ::2, ::2], block, compression)
    (tmp_path / "a.n5" / "attributes.json").write_text('{"n5": "2.0.0"}')
    assert io.is_volume(tmp_path / "a.n5")
    for name in ("a.n5", "a.n5/raw/s0"):
        assert np.array_equal(io.read(tmp_path / name).array, image)


def _lz4(content, packed=(True, False, True)):
    """A stream of lz4-java: parts of 100 bytes, each after a mark, a method, its sizes and a checksum."""
    lz4 = pytest.importorskip("numcodecs").lz4
    stream = b""
    for number, at in enumerate(range(0, len(content), 100)):
        part = content[at : at + 100]
        squeezed = lz4.compress(part)[4:] if packed[number % len(packed)] else part
        token = 0x20 if packed[number % len(packed)] else 0x10
        stream += b"LZ4Block" + struct.pack("<BIII", token + 6, len(squeezed), len(part), 0) + squeezed
    return stream + b"LZ4Block" + struct.pack("<BIII", 0x16, 0, 0, 0)


@pytest.mark.long
@pytest.mark.parametrize("block", [(2, 3, 4), (5, 7, 9)], ids=str)
def test_lz4_in_n5(tmp_path, block):
    COMPRESSIONS["lz4"] = ({"type": "lz4", "blockSize": 65536}, _lz4)
    _n5(tmp_path / "a.n5", VOLUME, block, "lz4")
    assert np.array_equal(io.read(tmp_path / "a.n5").array, VOLUME)
    first = tmp_path / "a.n5" / "0" / "0" / "0"
    whole = first.read_bytes()
    for length in range(0, len(whole) - 21, 11):
        first.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.n5") as refused:
            io.read(tmp_path / "a.n5")
        assert len(str(refused.value).splitlines()) == 1


def test_lz4_of_lz4_java():
    """13 bytes as LZ4BlockOutputStream of lz4-java 1.8 writes them."""
    from anystar_torch.io import n5_array

    stream = "TFo0QmxvY2sWDQAAAA0AAAC/fyACYWhiaWNqZGtlbGZtZ0xaNEJsb2NrFgAAAAAAAAAAAAAAAA=="
    expected = bytes(number * 7 % 13 + ord("a") for number in range(13))
    assert n5_array._lz4(base64.b64decode(stream), 13, Path("x")) == expected


def test_time_points_and_setups_of_bigdataviewer_in_n5(tmp_path):
    path = tmp_path / "a.n5"
    for time, setup in np.ndindex(2, 3):
        for level, step in (("s0", 1), ("s1", 2)):
            array = SERIES[time, setup, ::step, ::step, ::step]
            _n5(path / f"setup{setup}" / f"timepoint{time}" / level, array, (2, 3, 4), "gzip")
        about = {"downsamplingFactors": [[1, 1, 1], [2, 2, 2]], "dataType": "uint16"}
        (path / f"setup{setup}" / "attributes.json").write_text(json.dumps(about))
    assert io.is_volume(path), "also without attributes of its own"
    (path / "attributes.json").write_text('{"n5": "2.5.1"}')
    assert io.is_volume(path)
    assert io.frames(path) == 2
    _bigdataviewer_xml(path)
    for time, setup in np.ndindex(2, 3):
        found = io.read(path, frame=time, channel=setup)
        assert np.array_equal(found.array, SERIES[time, setup])
        assert (found.spacing, found.unit) == ((2.0, 0.5, 0.25), "um")
    assert np.array_equal(io.read(path / "setup2" / "timepoint1" / "s0").array, SERIES[1, 2])
    (path / "setup1" / "timepoint1" / "s0" / "attributes.json").unlink()
    with pytest.raises(ValueError, match=r"a\.n5 holds no volume .*setup1/timepoint1/s0"):
        io.read(path, frame=0, channel=0)
    shutil.rmtree(path / "setup1" / "timepoint1" / "s0")
    _n5(path / "setup1" / "timepoint1" / "s0", SERIES[1, 1, 1:].astype(np.int16))
    with pytest.raises(ValueError, match=r"volumes that differ: .*setup1/timepoint1/s0 is \(4, 7, 9\) int16"):
        io.read(path, frame=0, channel=0)


def test_axes_and_voxel_sizes_of_n5(tmp_path):
    sizes = {"resolution": [250, 500, 2000], "units": ["nm", "nm", "nm"], "axes": ["x", "y", "z"]}
    _n5(tmp_path / "a.n5", VOLUME, **sizes)
    assert io.read(tmp_path / "a.n5").spacing == pytest.approx((2, 0.5, 0.25))
    _n5(tmp_path / "b.n5", VOLUME, pixelResolution={"dimensions": [0.25, 0.5, 2], "unit": "um"})
    assert io.read(tmp_path / "b.n5").spacing == (2, 0.5, 0.25)
    _n5(tmp_path / "c.n5", VOLUME.transpose(2, 1, 0), **{**sizes, "axes": ["z", "y", "x"]})
    found = io.read(tmp_path / "c.n5")
    assert np.array_equal(found.array, VOLUME)
    assert found.spacing == pytest.approx((0.25, 0.5, 2))


def test_blosc_in_n5_is_read_and_a_part_of_it_refused(tmp_path):
    blosc = pytest.importorskip("numcodecs").Blosc(cname="lz4", shuffle=1)
    _n5(tmp_path / "a.n5", VOLUME)
    about = json.loads((tmp_path / "a.n5" / "attributes.json").read_text())
    (tmp_path / "a.n5" / "attributes.json").write_text(
        json.dumps({**about, "compression": {"type": "blosc"}})
    )
    for block in (path for path in (tmp_path / "a.n5").rglob("*") if path.is_file() and path.suffix == ""):
        content = block.read_bytes()
        block.write_bytes(content[:16] + blosc.encode(content[16:]))
    assert np.array_equal(io.read(tmp_path / "a.n5").array, VOLUME)
    block.write_bytes(block.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is cut off"):
        io.read(tmp_path / "a.n5")


def test_an_n5_block_without_a_file_is_zero_and_a_broken_one_is_refused(tmp_path):
    _n5(tmp_path / "a.n5", VOLUME)
    (tmp_path / "a.n5" / "0" / "0" / "0").unlink()
    expected = VOLUME.copy()
    expected[:2, :3, :4] = 0
    assert np.array_equal(io.read(tmp_path / "a.n5").array, expected)
    block = tmp_path / "a.n5" / "1" / "1" / "1"
    for content in (b"", block.read_bytes()[:-1], struct.pack(">HH3I", 0, 3, 9, 9, 9) + bytes(5000)):
        block.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.n5") as refused:
            io.read(tmp_path / "a.n5")
        assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"\.n5 is only read; name it \.zarr"):
        io.write(tmp_path / "b.n5", VOLUME.astype(np.int64), io.SpatialImage(VOLUME))
    assert io.beside(tmp_path / "a.n5") == tmp_path / "a.labels.zarr"
