"""Volumes that are read box by box."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import tifffile

from anystar_torch import io

SERIES = np.random.default_rng(0).integers(0, 60000, (3, 2, 6, 17, 18)).astype(np.uint16)  # T C Z Y X
BOXES = [
    np.s_[:, :, :],
    np.s_[1:4, 3:9, 2:3],
    np.s_[5:6, 16:17, 0:18],
    np.s_[2:2, :, :],
    np.s_[-2:, 4:400, :],
]


def _zarr(path, version):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for number, step in enumerate((1, 2)):
        group.create_array(str(number), data=SERIES[..., ::step, ::step], chunks=(1, 1, 4, 8, 8))
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, s, s]}]}
        for n, s in enumerate((1.0, 2.0))
    ]
    about = {"version": version, "axes": axes, "datasets": datasets}
    group.attrs.update(
        {"multiscales": [about]}
        if version == "0.4"
        else {"ome": {"version": version, "multiscales": [about]}}
    )


def _written(path, kind):
    if kind in ("0.4", "0.5"):
        _zarr(path, kind)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("in/side", data=SERIES, chunks=(1, 1, 4, 8, 8))
            for dimension, name in zip(dataset.dims, "tczyx", strict=True):
                dimension.label = name
        return f"{path}:/in/side"
    elif kind == "npy":
        np.save(path, SERIES)
    else:
        squeezed = "zlib" if kind == "zlib" else None
        pages = SERIES.swapaxes(1, 2)
        tifffile.imwrite(path, pages, metadata={"axes": "TZCYX"}, ome=True, compression=squeezed)
    return path


KINDS = {
    "0.4": "a.zarr",
    "0.5": "a.ome.zarr",
    "h5": "a.h5",
    "npy": "a.npy",
    "raw": "a.ome.tif",
    "zlib": "a.ome.tif",
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_box_is_that_of_the_whole_volume(tmp_path, kind):
    path = _written(tmp_path / KINDS[kind], kind)
    volume = io.open_volume(path, channel=1, frame=2)
    assert (volume.shape, volume.dtype, volume.frames, volume.channels) == ((6, 17, 18), np.uint16, 3, 2)
    assert np.array_equal(volume[...], io.read(path, channel=1, frame=2).array)
    for one in (volume, pickle.loads(pickle.dumps(volume))):
        for box in BOXES:
            assert np.array_equal(one[box], SERIES[2, 1][box])
    assert np.array_equal(volume.at(frame=0)[BOXES[1]], SERIES[0, 1][BOXES[1]])
    volume.close()
    assert np.array_equal(volume[BOXES[1]], SERIES[2, 1][BOXES[1]])


HUGE = (20000, 20000, 20000)  # 16 TB: nothing that reads it whole ends


@pytest.mark.parametrize("kind", ["zarr", "h5", "npy"])
def test_of_a_volume_larger_than_any_memory_only_a_box_is_read(tmp_path, kind):
    box, shape = np.s_[9000:9003, 17000:17002, 19996:], HUGE
    part = np.arange(24, dtype=np.uint16).reshape(3, 2, 4)
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        path = tmp_path / "a.zarr"
        zarr.create_array(path, shape=HUGE, chunks=(64, 64, 64), shards=(256, 256, 256), dtype="u2")[box] = (
            part
        )
    elif kind == "h5":
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("a", HUGE, "u2", chunks=(64, 64, 64))[box] = part
    else:
        path, shape = tmp_path / "a.npy", (9010, 17010, 20000)
        stored = np.lib.format.open_memmap(path, "w+", np.uint16, shape)  # a sparse file
        stored[box] = part
        stored.flush()
    volume = io.open_volume(path)
    assert volume.shape == shape
    assert np.array_equal(volume[box], part)
    with pytest.raises(ValueError, match="of memory are free"):
        volume.read()


def test_levels_of_a_pyramid(tmp_path):
    _zarr(tmp_path / "a.zarr", "0.5")
    fine = io.open_volume(tmp_path / "a.zarr", channel=0, frame=0)
    coarse = fine.at(level=1)
    assert (fine.levels, fine.spacing, coarse.spacing) == (2, (2, 1, 1), (2, 2, 2))
    assert np.array_equal(coarse[...], SERIES[0, 0][:, ::2, ::2])
    given = io.open_volume(tmp_path / "a.zarr", channel=0, frame=0, level=1, spacing=(3, 1, 1))
    assert (given.spacing, given.unit) == ((3, 2, 2), "um")
    with pytest.raises(ValueError, match="2 resolution levels, got level=2; choose 0 to 1"):
        fine.at(level=2)
    np.save(tmp_path / "a.npy", SERIES[0, 0])
    with pytest.raises(ValueError, match="one resolution level, got level=1"):
        io.open_volume(tmp_path / "a.npy", level=1)


def test_what_is_meant_must_be_clear(tmp_path):
    path = tmp_path / "a.zarr"
    _zarr(path, "0.5")
    for options, refusal in (
        ({}, "3 frames; choose one"),
        ({"frame": 0}, "2 channels; choose one"),
        ({"frame": 3, "channel": 0}, "got frame=3; choose 0 to 2"),
    ):
        with pytest.raises(ValueError, match=refusal):
            io.open_volume(path, **options)
    with pytest.raises(ValueError, match="there is no file"):
        io.open_volume(tmp_path / "none.zarr")
    volume = io.open_volume(path, frame=0, channel=0)
    with pytest.raises(TypeError, match="three slices"):
        volume[0]
    with pytest.raises(ValueError, match="no steps"):
        volume[::2, :, :]


def test_a_plate_is_refused_with_the_name_of_an_image(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"version": "0.5", "plate": {"wells": []}}})
    with pytest.raises(ValueError, match=r"is a plate; give one of its images, as in .*a\.zarr.A.1.0"):
        io.open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", ["0.5", "h5", "zlib"])
def test_threads_read_the_same_volume(tmp_path, kind):
    volume = io.open_volume(_written(tmp_path / KINDS[kind], kind), channel=1, frame=2)
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(BOXES * 8, pool.map(volume.__getitem__, BOXES * 8), strict=True):
            assert np.array_equal(found, SERIES[2, 1][box])


def test_a_broken_block_gives_one_line(tmp_path):
    path = tmp_path / "a.zarr"
    _zarr(path, "0.5")
    volume = io.open_volume(path, channel=0, frame=0)
    chunk = next(file for file in (path / "0" / "c" / "0" / "0").rglob("*") if file.is_file())
    chunk.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read as a volume") as refused:
        volume[...]
    assert "\n" not in str(refused.value)
