"""``anystar predict`` for volumes beyond memory: chosen by options, by a URL, or because the volume does not fit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anystar_torch.cli import large, main
from anystar_torch.cli.paths import Outputs
from anystar_torch.cli.segment import Job
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.io import RunRecord, read_record
from anystar_torch.network import weights
from tests.distributed.cases import noise, small_model, stored, write_volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a volume, a network, and the labels of the prediction in memory."""
    folder, network = tmp_path_factory.mktemp("command"), small_model()
    volume = noise((40, 60, 70))
    write_volume(folder / "volume.ome.zarr", volume)
    weights.save(folder / "model", network.network, network.config)
    in_one_tile = AnyStar.from_pretrained(folder / "model")
    found = in_one_tile.predict(volume, diameter=13, device="cpu", progress=False)
    np.save(folder / "expected.npy", found.labels)
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(str, arguments)])
    return ended.value.code


@pytest.mark.long
def test_two_workers_write_the_labels_and_print_where_the_dashboard_is(folder, tmp_path):
    command = [
        *(sys.executable, "-c", "from anystar_torch.cli import main; main()"),
        *("predict", folder / "volume.ome.zarr", "--diameter", 13),
        *("-o", tmp_path / "labels.ome.zarr", "--model", folder / "model", "--device", "cpu", "--workers", 2),
        *("--table", tmp_path / "objects.csv"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("dashboard: http://127.0.0.1:")
    assert done.stderr.count("\n") == 1
    expected = np.load(folder / "expected.npy")
    assert np.array_equal(stored(tmp_path / "labels.ome.zarr"), expected)
    assert f"{expected.max()} objects" in done.stdout.splitlines()[-1]
    assert len((tmp_path / "objects.csv").read_text().splitlines()) == expected.max() + 1
    assert read_record(tmp_path / "labels.ome.zarr").model == str(folder / "model")


@pytest.mark.long
def test_options_that_exclude_each_other_are_refused_in_one_line(folder, tmp_path, capsys):
    source, target = folder / "volume.ome.zarr", tmp_path / "labels.ome.zarr"
    for options, reason in {
        ("--workers", 2, "-o", tmp_path / "labels.tif"): "give -o NAME.ome.zarr, not",
        ("--workers", 0, "-o", target): "--workers must be at least 1, got 0",
        ("--workers", 2, "--scheduler", "tcp://localhost:1", "-o", target): "leave out --workers",
        ("--range", 0, 1, "--picture", tmp_path / "p.png", "-o", target): "leave out --picture",
        ("--into-labels", "nuclei", "-o", target): "leave out --output",
        ("--scheduler", "tcp://127.0.0.1:1", "-o", target): "no scheduler answers at tcp://127.0.0.1:1",
    }.items():
        assert run(source, "--model", folder / "model", *options) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert reason in lines[0]
    assert not target.exists()


def test_a_volume_that_does_not_fit_is_predicted_block_by_block(folder, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(large, "segment_large", lambda *arguments: asked.append(arguments) or "done")
    source, shared = folder / "volume.ome.zarr", ("--model", folder / "model", "--device", "cpu")
    assert run(source, "-o", tmp_path / "a.ome.zarr", *shared, "--max-memory", "600MB") == 0
    assert asked[0][1] == str(tmp_path / "a.ome.zarr")
    assert capsys.readouterr().out == "done\n"
    assert run(source, "-o", tmp_path / "b.ome.zarr", *shared, "--max-memory", "4GB", "--diameter", 13) == 0
    assert len(asked) == 1
    assert (tmp_path / "b.ome.zarr").is_dir()


def test_a_url_is_always_predicted_block_by_block():
    outputs, wanted = Outputs(labels=Path("labels")), large.Blockwise()
    options = dict.fromkeys(("spacing", "diameter"))
    job = Job(
        model=small_model(), prob_thresh=0.5, nms_thresh=0.3, progress=False, record=RunRecord(), **options
    )
    assert large.is_wanted(["s3://bucket/a.ome.zarr"], None, outputs, wanted, job)
    assert large.is_wanted(["a.ome.zarr"], "s3://bucket/labels.ome.zarr", outputs, wanted, job)
    with pytest.raises(ValueError, match="takes one volume at a time, got 2"):
        large.is_wanted(["a.zarr", "b.zarr"], None, outputs, large.Blockwise(workers=2), job)
