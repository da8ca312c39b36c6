"""The size in volumes beyond 2^30 voxels: the number of voxels that are read does not grow with the volume."""

import numpy as np
import pytest
import zarr

from anystar_torch.distributed import preparation
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import ObjectSize, SizeEstimate
from anystar_torch.io import LazyVolume, open_volume
from tests.distributed.cases import crowd, model
from tests.distributed.test_options import job_of

SHAPE = (1200, 1100, 1000)
FIRST = np.array([300, 500, 700])  # where the objects begin
REPEATS = 4, 3, 3  # how often a part with objects is repeated


def objects():
    """The part of the volume that has objects."""
    return np.tile(crowd(), REPEATS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """An image with objects in one place and no chunks elsewhere, with one level and with two."""
    folder = tmp_path_factory.mktemp("vast")
    part = objects()
    assert np.prod(SHAPE, dtype=np.int64) > preparation.EXAMINED
    for levels in (1, 2):
        group = zarr.open_group(str(folder / f"{levels}.ome.zarr"), mode="w", zarr_format=3)
        datasets = []
        for level in range(levels):
            step = 4**level
            shape = tuple(n // step for n in SHAPE)
            array = group.create_array(
                str(level), shape=shape, chunks=(64,) * 3, dtype="uint16", fill_value=0
            )
            own = part[::step, ::step, ::step]
            low = FIRST // step
            array[tuple(slice(a, a + n) for a, n in zip(low, own.shape, strict=True))] = own
            scale = {"type": "scale", "scale": [float(step)] * 3}
            datasets.append({"path": str(level), "coordinateTransformations": [scale]})
        axes = [{"name": axis, "type": "space"} for axis in "zyx"]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return folder


@pytest.mark.long
@pytest.mark.parametrize("levels", [1, 2])
def test_the_estimate_reads_a_bounded_number_of_voxels(sources, tmp_path, monkeypatch, levels):
    source = open_volume(sources / f"{levels}.ome.zarr")
    assert source.levels == levels
    read, take = [], LazyVolume.__getitem__

    def counted(self, box):
        values = take(self, box)
        read.append(values.size)
        return values

    parts = []

    def estimate(job, volume):
        parts.append(volume.voxels)
        return ObjectSize(13.0 + len(parts), SizeEstimate(13.0 + len(parts), 1.0, 20, 5))

    monkeypatch.setattr(LazyVolume, "__getitem__", counted)
    monkeypatch.setattr(preparation, "_estimate", estimate)
    job = job_of(tmp_path, model(coarse_pass=False), source, diameter=None)
    size = preparation._object_size(job, IntensityRange(0.0, 1000.0, False))
    assert size.diameter == 15.0  # the median of the parts
    assert not size.warnings
    assert [part.shape for part in parts] == [(preparation._PART,) * 3] * preparation._PARTS
    assert (parts[0] > 300).sum() > 0.5 * (objects() > 300).sum()  # the first part holds most of the objects
    chosen = preparation._PROBES**3 * preparation._PROBE**3 if levels == 1 else preparation._COARSE
    examined = preparation._PARTS * preparation._PART**3
    assert 0 < sum(read) <= chosen + examined < np.prod(SHAPE, dtype=np.int64) / 4


@pytest.mark.parametrize("diameter", [90.0, 120.0])
def test_objects_that_are_large_in_the_parts_give_a_warning(tmp_path, monkeypatch, diameter):
    estimate = SizeEstimate(diameter, 1.0, 20, 5)
    monkeypatch.setattr(preparation, "EXAMINED", 1000)
    monkeypatch.setattr(preparation, "_estimate", lambda job, volume: ObjectSize(diameter, estimate))
    volume = np.random.default_rng(0).random((20, 30, 40), np.float32)
    job = job_of(tmp_path, model(coarse_pass=False), volume, diameter=None)
    size = preparation._object_size(job, IntensityRange(0.0, 1.0, False))
    assert (size.diameter, size.estimate) == (diameter, estimate)
    lines = [warning.line for warning in size.warnings]
    assert [
        "diameter of 120 voxels was estimated on parts of up to 384 voxels" in line for line in lines
    ] == ([True] if diameter > preparation._PART / 4 else [])
