"""How a volume is read to measure its intensity range: boxes, memory and open files."""

import math
import tracemalloc
from dataclasses import dataclass

import dask.array
import numpy as np
import pytest
import zarr

from anystar_torch.distributed import intensity, predict, preparation
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.inference.intensity_range import IntensityRange, intensity_range
from tests.distributed.cases import crowd, model, stored
from tests.distributed.open_files import MORE, few_open_files
from tests.distributed.test_options import job_of

VOXELS = np.random.default_rng(0).integers(0, 60000, (128, 128, 128)).astype(np.uint16)


@pytest.fixture(scope="module")
def network():
    return model(coarse_pass=False)


def measured(job):
    with Bars(False) as bars:
        return intensity.measure(job, Run(ThisProcess(), bars))


def most_bytes(work):
    """Bytes that are allocated at once, at most."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@dataclass
class Chunked:
    """A source of zeros that has chunks."""

    shape: tuple[int, int, int]
    blocks: tuple[int, int, int] | None
    dtype = np.dtype(np.uint16)

    def __getitem__(self, box):
        return np.zeros([one.stop - one.start for one in box], self.dtype)


def opened(kind, path, voxels):
    """A volume of chunks of 20 x 24 x 28 voxels that Zarr or Dask reads."""
    chunks = (20, 24, 28)
    if kind == "dask":
        return dask.array.from_array(voxels, chunks)
    array = zarr.create_array(
        str(path / "source.zarr"), shape=voxels.shape, chunks=chunks, dtype=voxels.dtype
    )
    array[...] = voxels
    return array


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("sampled", [500, 1 << 24])
def test_many_boxes_are_measured_with_few_open_files(tmp_path, network, monkeypatch, kind, sampled):
    volume = VOXELS[:10, :10, :10].astype(kind)
    monkeypatch.setattr(intensity, "_BOX", 2)
    monkeypatch.setattr(intensity, "SAMPLED", sampled)
    job = job_of(tmp_path, network, volume)
    assert len(intensity.reading_boxes(job).names()) > 3 * MORE
    with few_open_files():
        found = measured(job)
    assert found == intensity_range(volume, job.normalisation, sampled=sampled)


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_boxes_are_whole_chunks_of_zarr_and_dask_arrays(tmp_path, network, monkeypatch, kind):
    volume = VOXELS[:50, :60, :70]
    monkeypatch.setattr(intensity, "_BOX", 45)
    job = job_of(tmp_path / "work", network, opened(kind, tmp_path, volume))
    assert intensity.reading_boxes(job).size == (40, 48, 56)
    assert measured(job) == intensity_range(volume, job.normalisation)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_zarr_and_dask_arrays_are_predicted_as_in_memory(tmp_path, network, kind):
    volume = crowd((40, 48, 60), 30)
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    source, target = opened(kind, tmp_path, volume), tmp_path / "labels.ome.zarr"
    options = {"diameter": 13, "block": 24, "shard": (32, 32, 32), "device": "cpu", "progress": False}
    predict(source, target, model=network, **options)
    assert len(expected) > 5
    assert np.array_equal(stored(target), expected.labels)


@pytest.mark.parametrize(
    ("shape", "chunk", "expected"),
    [
        ((3000, 3000, 3000), None, (256, 256, 256)),
        ((3000, 3000, 3000), (100, 100, 100), (300, 300, 300)),
        ((3000, 3000, 3000), (64, 1024, 1024), (64, 1024, 1024)),
        ((3000, 8000, 8000), (1, 4096, 4096), (4, 4096, 4096)),
        ((3000, 3000, 3000), (1024, 1024, 1024), (256, 512, 512)),  # a chunk is divided
        ((100, 5000, 5000), (1, 1 << 20, 1 << 20), (2, 5000, 5000)),  # chunks larger than the volume
    ],
)
def test_boxes_are_whole_chunks_and_have_a_bounded_number_of_voxels(
    tmp_path, network, shape, chunk, expected
):
    boxes = intensity.reading_boxes(job_of(tmp_path, network, Chunked(shape, chunk)))
    assert boxes.size == expected
    assert math.prod(boxes.size) <= 1 << 26


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_box_is_counted_without_copies_of_64_bits(tmp_path, network, monkeypatch, kind, masked):
    monkeypatch.setattr(intensity, "_PIECE", 1 << 12, raising=False)
    monkeypatch.setattr(intensity, "SAMPLED", 1000)
    options = {"mask": np.ones((2, 2, 2), np.uint8)} if masked else {}
    volume = VOXELS.astype(kind)
    job = job_of(tmp_path, network, volume, **options)
    measured(job)
    assert most_bytes(lambda: intensity._read(job, "0-0-0")) < 3 * volume.size
    assert len(intensity.reading_boxes(job).names()) == 1


def test_the_places_of_a_sample_take_few_bytes_each(tmp_path, network, monkeypatch):
    monkeypatch.setattr(intensity, "SAMPLED", 1 << 18)
    monkeypatch.setattr("anystar_torch.inference.intensity_range._PIECE", 1 << 12)
    job = job_of(tmp_path, network, VOXELS.astype(np.float32))
    assert most_bytes(lambda: intensity._places(job, "all")) < 40 << 18


def test_the_texture_of_a_coarse_level_needs_two_arrays_of_32_bits():
    level = VOXELS.copy()
    level[:, :64] //= 100
    limits = IntensityRange(0.0, 60000.0, True)
    found = []
    assert most_bytes(lambda: found.append(preparation._of_level(level, limits))) < 10 * level.size
    texture = found[0]
    assert texture.shape == (64, 64, 64)
    assert texture.dtype == np.float64
    assert texture[:, 48:].mean() == pytest.approx(1 / np.sqrt(12), rel=0.02)  # of a uniform distribution
    assert texture[:, :16].mean() == pytest.approx(0.01 / np.sqrt(12), rel=0.02)
