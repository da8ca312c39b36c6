"""What tells volumes and networks apart, so that no prediction continues or uses those of another one."""

import io

import dask.array
import distributed
import h5py
import numpy as np
import pytest
import torch
import zarr

from anystar_torch.distributed import predict
from anystar_torch.distributed.beginning import frames_of, jobs_of
from anystar_torch.distributed.options import LargeOptions
from anystar_torch.io import LabelStore
from tests.distributed.cases import OPTIONS, crowd, noise, small_model, stored, write_volume

SHAPE = (40, 48, 60)


@pytest.fixture(scope="module")
def volume():
    return crowd(SHAPE, 30)


class StoppedError(Exception):
    """Ends a prediction before its labels are complete."""


@pytest.fixture
def stopped(monkeypatch):
    """A function that predicts until all labels are written, and no further."""

    def run(*arguments, **options):
        def stop(store, record):
            raise StoppedError

        with monkeypatch.context() as patched:
            patched.setattr(LabelStore, "finish", stop)
            with pytest.raises(StoppedError):
                predict(*arguments, **OPTIONS | options)

    return run


def identities(tmp_path, network, *sources):
    jobs = jobs_of(frames_of(list(sources), LargeOptions()), network, LargeOptions(), tmp_path)
    from anystar_torch.distributed.beginning import _identity

    return [_identity(one.source) for one in jobs]


def test_volumes_that_differ_have_different_identities(tmp_path, network):
    first, second = noise((8, 8, 8)), noise((8, 8, 8), 1)
    files = []
    for name, values in (("a", first), ("b", second)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"] = values
        files.append(h5py.File(tmp_path / f"{name}.h5")["x"])
    arrays = [
        zarr.create_array(tmp_path / name, data=values) for name, values in (("a", first), ("b", second))
    ]
    lazy = [dask.array.from_array(values) for values in (first, second)]
    known = [*files, *arrays, *lazy, first, second, Named("a"), Named("b")]
    memory = [zarr.create_array({}, data=values) for values in (first, second)]
    unknown = [*memory, Boxes(), Boxes(), h5py.File(io.BytesIO(), "w").create_dataset("x", data=first)]
    found = identities(tmp_path, network, *known, *unknown)
    assert len(set(found)) == len(known) + len(unknown)
    again = identities(tmp_path, network, *known, *unknown)
    assert again[: len(known)] == found[: len(known)]
    assert not set(again[len(known) :]) & set(found)
    for file in files:
        file.file.close()


class Boxes:
    """A volume that is read in boxes, about which nothing else is known."""

    shape, dtype, ndim = (8, 8, 8), np.dtype(np.float32), 3

    def __getitem__(self, box):
        return np.zeros(self.shape, np.float32)[box]


class Named(Boxes):
    """A volume that says what tells it from others, as layers of napari do."""

    def __init__(self, choice):
        self.choice = choice


@pytest.mark.long
def test_another_time_point_is_not_taken_for_the_one_before(tmp_path, network, volume, stopped):
    target, a, b, c = tmp_path / "labels.ome.zarr", volume, volume[::-1], volume[:, ::-1]
    stopped([a, b], target, model=network)
    with pytest.raises(ValueError, match=r"other settings \(source\)"):
        predict([a, c], target, model=network, **OPTIONS)
    with pytest.raises(ValueError, match="volumes of one size"):
        predict([a, a[1:]], target, model=network, **OPTIONS)


@pytest.mark.long
def test_workers_that_live_on_use_the_network_of_each_prediction(tmp_path):
    volume = noise((40, 60, 70))
    source, first, second = write_volume(tmp_path / "v.ome.zarr", volume), small_model(), small_model()
    with torch.no_grad():
        second.network.distances.bias.add_(1.0)
    found = []
    with distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as client:
        for one in (first, second):
            done = predict(
                source, tmp_path / "l.ome.zarr", client, one, overwrite=True, **OPTIONS | {"block": 1000}
            )
            found.append(stored(done.target))
    for one, labels in zip((first, second), found, strict=True):
        assert np.array_equal(labels, one.predict(volume, diameter=13, device="cpu", progress=False).labels)
    assert not np.array_equal(*found)
