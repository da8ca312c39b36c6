"""``anystar predict`` from and to object storage, block by block: the labels of the prediction in memory of a copy."""

import os
import subprocess
import sys

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.cli import main
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import weights
from tests.distributed.cases import noise, small_model, stored, write_volume
from tests.object_storage import KEY, SECRET, served_bucket

SHAPE = (40, 60, 70)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A bucket with a volume, its service, a network, and the labels of the prediction of a copy in memory."""
    folder, network = tmp_path_factory.mktemp("storage"), small_model()
    volume = noise(SHAPE)
    weights.save(folder / "model", network.network, network.config)
    with served_bucket() as (bucket, address):
        write_volume(f"{bucket}/volume.ome.zarr", volume)
        found = AnyStar.from_pretrained(folder / "model").predict(
            volume, diameter=13, device="cpu", progress=False
        )
        assert len(found) > 10
        yield bucket, address, folder / "model", found.labels


def arguments(case, *more):
    bucket, _, model, _ = case
    options = ("--diameter", 13, "--device", "cpu", "--model", model, *more)
    return ["predict", f"{bucket}/volume.ome.zarr", *map(str, options)]


@pytest.mark.long
def test_a_volume_in_object_storage_is_predicted_into_a_folder(case, tmp_path, capsys):
    target = tmp_path / "labels.ome.zarr"
    with pytest.raises(SystemExit) as ended:
        main(arguments(case, "-o", target))
    assert ended.value.code == 0
    assert np.array_equal(stored(target), case[3])
    assert f"{case[3].max()} objects" in capsys.readouterr().out
    record = io.read_record(target)
    assert (record.source, record.unit) == (f"{case[0]}/volume.ome.zarr", "um")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.ome.zarr"]


@pytest.mark.slow
def test_workers_read_and_write_object_storage(case, tmp_path):
    bucket, address, _, expected = case
    target = f"{bucket}/labels.ome.zarr"
    program = "from anystar_torch.cli import main; main()"
    more = ("-o", target, "--work", tmp_path / "work", "--workers", 2)
    service = {"FSSPEC_S3_ENDPOINT_URL": address, "FSSPEC_S3_KEY": KEY, "FSSPEC_S3_SECRET": SECRET}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments(case, *more)],
        capture_output=True,
        text=True,
        env=os.environ | service | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    written = io.read_labels(target)
    assert np.array_equal(written.array, expected)
    assert written.spacing == (0.5, 0.5, 0.5)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.long
def test_labels_in_object_storage_need_a_work_folder(case, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments(case, "-o", f"{case[0]}/other.ome.zarr"))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "give --work FOLDER" in line
