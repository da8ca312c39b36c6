"""Two processes on one machine, over gloo, train as one: the same samples per step, shared out."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT

pytestmark = pytest.mark.long  # trainings in processes of their own
STEPS = 6
TINY = [
    "+experiment=plain",
    "model=small",
    "shape=[16,16,16]",
    "model.rays=8",
    "model.backbone.filters=4",
    "model.backbone.depth=1",
    "model.features=8",
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=3",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "data.validation_samples=3",
    "report.samples=2",
    "callbacks.samples.samples=2",
    "report.min_f1=0",
    "callbacks.scores.samples=3",
    "callbacks.checkpoint.every_n_steps=4",
    "+callbacks.record._target_=tests.recording.Ids",
]
ALONE = ["hardware=gpu", "batch_size=2"]
SHARED = ["hardware=ddp", "batch_size=1", "trainer.devices=2"]


def start(folder, *overrides):
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *TINY,
        f"run_folder={folder}",
        f"+callbacks.record.folder={folder}/seen",
        *overrides,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder.parent,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(folder, *overrides):
    process = start(folder, *overrides)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def seen(folder, rank):
    """step -> ids of a rank."""
    lines = (folder / "seen" / f"{rank}.jsonl").read_text().splitlines()
    return {row["step"]: row["ids"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    code, output = run(folder, *ALONE)
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "run"
    code, output = run(folder, *SHARED)
    assert code == 0, output
    return folder, output


def test_two_ranks_see_what_one_sees(alone, shared):
    one, ranks = seen(alone, 0), [seen(shared[0], 0), seen(shared[0], 1)]
    assert sorted(one) == list(range(1, STEPS + 1))
    for step, ids in one.items():
        assert set(ranks[0][step]).isdisjoint(ranks[1][step])
        assert sorted(ranks[0][step] + ranks[1][step]) == sorted(ids)


def test_one_process_speaks(shared):
    folder, output = shared
    assert output.count("val_loss") == STEPS // 3
    assert output.count("synthetic volumes of the split report") == 1
    assert (folder / "model" / "weights.safetensors").is_file()
    assert json.loads((folder / "model" / "config.json").read_text())["provenance"]["batch_size"] == 2


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.slow
def test_a_signal_to_one_stops_both_and_they_go_on_together(shared, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, *SHARED)
    deadline = time.monotonic() + 120
    while not (folder / "seen" / "0.jsonl").is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "training never began"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # the other rank is a process of its own and hears nothing
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    stopped = max(seen(folder, 0))
    assert stopped < STEPS, "the run was over before the signal came"
    assert max(seen(folder, 1)) == stopped
    code, output = run(folder, *SHARED, f"resume={folder}")
    assert code == 0, output
    for rank in (0, 1):
        assert seen(folder, rank) == seen(shared[0], rank)
    once, resumed = (load_file(f / "model" / "weights.safetensors") for f in (shared[0], folder))
    assert all(torch.equal(resumed[name], value) for name, value in once.items())
