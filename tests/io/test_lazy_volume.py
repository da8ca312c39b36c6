"""Volumes that are read box by box."""

import pickle

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
