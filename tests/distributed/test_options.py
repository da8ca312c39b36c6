"""Masks, time series, channels, intensity ranges, sizes and tables of predictions block by block."""

import csv
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zarr

from anystar_torch.distributed import intensity, predict, preparation
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.object_table import object_table
from anystar_torch.inference.warnings import ConstantVolumeWarning
from anystar_torch.io import LabelStore, open_volume, read_record
from tests.distributed.cases import OPTIONS, model, stored, write_volume


@pytest.mark.long
def test_a_time_series_with_channels_is_predicted_frame_by_frame(tmp_path, network, volume):
    series = np.zeros((3, 2, *volume.shape), np.uint16)
    series[0, 1], series[1, 1], series[2, 1] = volume, volume[::-1], 7
    source = write_volume(tmp_path / "series.ome.zarr", series, "tczyx")
    result = predict(source, tmp_path / "labels.ome.zarr", model=network, channel=1, **OPTIONS)
    expected = [network.predict(one, diameter=13, device="cpu", progress=False) for one in series[:, 1]]
    found = stored(result.target)
    for frame, one in enumerate(expected):
        assert np.array_equal(found[frame], one.labels)
    assert result.objects == sum(map(len, expected))
    assert result.warnings == (ConstantVolumeWarning(),)
    record = read_record(result.target)
    assert record == result.record
    assert (record.diameters, record.channel, record.objects) == ((13.0,) * 3, 1, result.objects)
    assert (record.device, record.precision) == ("cpu", "float32")
    levels = zarr.open_group(str(result.target), mode="r").attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in levels["axes"]] == ["t", "z", "y", "x"]
    alone = predict(source, tmp_path / "one.ome.zarr", model=network, channel=1, frame=1, **OPTIONS)
    assert np.array_equal(stored(alone.target), expected[1].labels)


@pytest.mark.long
def test_a_mask_of_lower_resolution_keeps_candidates_inside(tmp_path, network, volume):
    mask = np.zeros((5, 6, 6), np.uint8)
    mask[1:4, :3] = 255
    result = predict(volume, tmp_path / "labels.ome.zarr", model=network, mask=mask, **OPTIONS)
    limits = intensity_range(volume[8:32, :24], "minmax")
    given = predict(
        volume,
        tmp_path / "given.ome.zarr",
        model=network,
        mask=mask,
        intensity_range=(limits.low, limits.high),
        **OPTIONS | {"block": 1000},
    )
    assert np.array_equal(stored(result.target), stored(given.target))
    whole = predict(volume, tmp_path / "whole.ome.zarr", model=network, **OPTIONS)
    assert 0 < result.objects < whole.objects
    centres = np.array(
        [np.argwhere(stored(result.target) == k).mean(0) for k in range(1, result.objects + 1)]
    )
    assert (centres[:, 0] > 4).all()
    assert (centres[:, 1] < 28).all()  # the centre of a label that others cover is not that of its candidate
    with pytest.raises(ValueError, match="mask is 0 everywhere"):
        predict(volume, tmp_path / "none.ome.zarr", model=network, mask=np.zeros((2, 2, 2)), **OPTIONS)


@pytest.mark.long
def test_the_table_is_that_of_the_prediction_in_memory(tmp_path, network, volume):
    table = tmp_path / "objects.csv"
    predict(volume, tmp_path / "labels.ome.zarr", model=network, table=table, **OPTIONS)
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    rows = object_table(expected, volume)
    with table.open() as lines:
        found = list(csv.DictReader(lines))
    assert len(found) == len(rows) > 10
    for one, other in zip(found, rows, strict=True):
        assert {k: v for k, v in one.items() if v} == {k: str(v) for k, v in other.items()}
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(volume, tmp_path / "again.ome.zarr", model=network, table=table, **OPTIONS)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of mapped files")
def test_columns_of_the_table_are_not_mapped_any_more_when_they_are_removed(
    tmp_path, monkeypatch, network, volume
):
    """Windows does not remove a file that is mapped into memory."""
    mapped, remove = {}, TemporaryDirectory.cleanup

    def watched(folder):
        place = Path(folder.name)
        if (place / "scores.npy").is_file():
            mapped[place] = str(place) in Path("/proc/self/maps").read_text(encoding="utf-8")
        remove(folder)

    monkeypatch.setattr(TemporaryDirectory, "cleanup", watched)
    table = tmp_path / "objects.csv"
    predict(volume, tmp_path / "labels.ome.zarr", model=network, table=table, **OPTIONS)
    assert list(mapped.values()) == [False]


def job_of(tmp_path, network, volume, **options):
    from anystar_torch.distributed.beginning import jobs_of
    from anystar_torch.distributed.networks import provide
    from anystar_torch.distributed.options import LargeOptions

    (job,) = jobs_of([volume], network, LargeOptions(device="cpu", **options), tmp_path)
    provide(job, network.tile_network("cpu"), network.config)
    return job


@pytest.mark.parametrize("kind", ["uint8", "int16", "bool", "float32", "uint32"])
@pytest.mark.parametrize("sampled", [1000, 1 << 24])
def test_the_intensity_range_is_that_in_memory(tmp_path, network, monkeypatch, kind, sampled):
    values = np.random.default_rng(1).normal(60, 20, (20, 33, 17))
    volume = (values > 60 if kind == "bool" else values).astype(kind)
    if kind == "float32":
        volume[3, 4, 5:9] = np.nan, np.inf, -np.inf, 1e4
    for place in (intensity, preparation):
        monkeypatch.setattr(f"{place.__name__}.SAMPLED", sampled, raising=False)
    monkeypatch.setattr(intensity, "_BOX", 8)
    clipped = model(normalisation="clipped")
    job = job_of(tmp_path, clipped, volume)
    with Bars(False) as bars:
        found = intensity.measure(job, Run(ThisProcess(), bars))
    assert found == intensity_range(volume, "clipped", sampled=sampled)


@pytest.mark.slow
def test_the_size_is_estimated_as_in_memory_and_at_busy_places_of_larger_volumes(
    tmp_path, network, volume, monkeypatch
):
    expected = network.candidates(volume, device="cpu", progress=False).estimate
    wishes = {k: v for k, v in OPTIONS.items() if k != "diameter"}
    result = predict(volume, tmp_path / "a.ome.zarr", model=network, **wishes)
    assert result.record.notes[0] == str(expected)
    monkeypatch.setattr(preparation, "EXAMINED", 1000)
    monkeypatch.setattr(preparation, "_PART", 48)
    monkeypatch.setattr(preparation, "_PARTS", 1)
    busy = predict(volume, tmp_path / "b.ome.zarr", model=network, **wishes)
    assert busy.record.diameters[0] == pytest.approx(13, rel=0.3)


def test_busy_places_are_where_grey_values_vary(tmp_path, network, monkeypatch):
    volume = np.zeros((64, 96, 128), np.float32)
    volume[8:24, 60:80, 90:110] = np.random.default_rng(0).random((16, 20, 20))
    monkeypatch.setattr(preparation, "_PART", 32)
    job = job_of(tmp_path, network, volume)
    (z, y, x), _ = preparation.busiest_boxes(job, intensity_range(volume, "minmax"))[0]
    assert z < 24
    assert y < 80 < y + 40
    assert x < 110 < x + 40


def test_volumes_and_options_that_do_not_fit_are_refused(tmp_path, network, volume):
    target = tmp_path / "labels.ome.zarr"
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        predict(volume, target, model=network, colour="red")
    with pytest.raises(ValueError, match="must ascend, got 3 to 2"):
        predict(volume, target, model=network, intensity_range=(3, 2))
    with pytest.raises(TypeError, match="workers cannot see a volume in memory"):
        predict(volume, target, object(), network)
    with pytest.raises(ValueError, match="need a work folder"):
        predict(volume, "s3://bucket/labels.ome.zarr", model=network)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intensity_range": (0, np.inf)}, "must be finite and must ascend, got 0 to inf"),
        ({"intensity_range": (-np.inf, 9)}, "must be finite and must ascend, got -inf to 9"),
        ({"intensity_range": (2, np.nan)}, "must be finite and must ascend, got 2 to nan"),
        ({"intensity_range": (2, 2)}, "must be finite and must ascend, got 2 to 2"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_numbers_that_no_prediction_can_have_are_refused(tmp_path, network, options, message):
    with pytest.raises(ValueError, match=message):
        predict(
            np.ones((8, 8, 8), np.uint8), tmp_path / "labels.ome.zarr", model=network, **OPTIONS, **options
        )
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_work_folder_is_one_line(tmp_path, network):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=rf"^cannot write {tmp_path / 'file'}.*Not a directory$"):
        predict(
            np.ones((8, 8, 8), np.uint8),
            tmp_path / "labels.ome.zarr",
            model=network,
            work=tmp_path / "file",
            **OPTIONS,
        )


@pytest.mark.long
def test_labels_inside_of_the_source_are_listed(tmp_path, network, volume):
    from anystar_torch.io import Inside

    source = write_volume(tmp_path / "v.ome.zarr", volume)
    result = predict(source, Inside(source, "nuclei"), model=network, **OPTIONS)
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    assert np.array_equal(stored(source / "labels" / "nuclei"), expected.labels)
    assert json.loads((source / "labels" / "zarr.json").read_text())["attributes"]["ome"]["labels"] == [
        "nuclei"
    ]
    assert open_volume(source).shape == volume.shape
    assert result.target == source / "labels" / "nuclei"
    assert not list(tmp_path.glob("**/*.work"))


@pytest.mark.long
def test_unfinished_labels_of_another_run_leave_no_voxel(tmp_path, network, volume):
    target, wide = tmp_path / "labels.ome.zarr", np.pad(volume, ((0, 0), (0, 0), (0, 80)))
    other = LabelStore.create(target, wide.shape, dtype=np.uint16, shard=OPTIONS["shard"])
    assert len(other.shards()) == 20  # those at the end have no objects
    for box in other.shards():
        other.write(0, box, np.full([one.stop - one.start for one in box], 999, np.uint16))
    predict(wide, target, model=network, **OPTIONS)
    found = stored(target)
    assert found.any()
    assert 999 not in found
