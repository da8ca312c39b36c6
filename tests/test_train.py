"""``python train.py`` as a user runs it: what it writes, how it stops, how it goes on."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT

TINY = [
    "+experiment=plain", "hardware=laptop", "shape=[16,16,16]", "model.rays=8", "model.backbone.filters=4",
    "model.backbone.depth=1",
    "model.features=8", "trainer.max_steps=12", "trainer.val_check_interval=6", "trainer.precision=32-true",
    "trainer.log_every_n_steps=1", "data.validation_samples=2", "report.samples=2", "report.min_f1=0",
    "callbacks.checkpoint.every_n_steps=5",
]  # fmt: skip


def start(folder, *overrides, **options):
    command = [sys.executable, str(ROOT / "train.py"), *TINY, f"run_folder={folder}", *overrides]
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


def losses(folder):
    """step -> loss over every stretch of a run."""
    found = {}
    for path in sorted((folder / "csv").rglob("metrics.csv")):
        for row in csv.DictReader(path.read_text().splitlines()):
            if row.get("loss"):
                found[int(row["step"])] = row["loss"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, output = run(folder)
    assert code == 0, output
    return folder, output


def test_writes_nothing_but_the_run_folder(whole):
    folder, output = whole
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert (folder / "model" / "weights.safetensors").is_file()
    assert (folder / ".hydra" / "config.yaml").is_file()
    assert "F1" in output
    assert str(folder / "model") in output


def test_every_step_is_logged(whole):
    assert sorted(losses(whole[0])) == list(range(12))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed_is_the_run_uninterrupted(whole, tmp_path, number):
    folder = tmp_path / "run"
    process = start(folder, "trainer.max_steps=12")
    deadline = time.monotonic() + 120
    while not list(folder.rglob("metrics.csv")) and not (folder / "checkpoints").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "training never began"
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert f"resume={folder}" in output
    seen = losses(folder)
    assert len(seen) < 12, "the run was over before the signal came"
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert losses(folder) == losses(whole[0])


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    last = folder / "checkpoints" / "last.ckpt"
    while not last.is_file():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.kill()
    process.communicate()
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    resumed, uninterrupted = losses(folder), losses(whole[0])
    assert {step: resumed[step] for step in range(5, 12)} == {
        step: uninterrupted[step] for step in range(5, 12)
    }


def test_learning_nothing_is_said_and_exits_with_one(tmp_path):
    code, output = run(tmp_path / "run", "trainer.max_steps=1", "report.min_f1=0.99")
    assert code == 1, output
    assert "learned nothing" in output


def test_a_warm_start_goes_on_from_the_weights_of_another_run(whole, tmp_path):
    """With a learning rate of zero the new run's model is the old one's, but for the rounding of its average."""
    code, output = run(
        tmp_path / "run", f"warm_start={whole[0]}", "trainer.max_steps=2", "training.optimizer.lr=0"
    )
    assert code == 0, output
    old, new = (
        load_file(folder / "model" / "weights.safetensors") for folder in (whole[0], tmp_path / "run")
    )
    learned = [name for name in old if "running" not in name and "batches" not in name]
    assert learned
    for name in learned:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("warm_start=nowhere", ["there is no model folder nowhere"]),
        (
            "model.backbone.filters=2",
            ["backbone.filters is 4 there and 2 here", "choose the same with model="],
        ),
    ],
)
def test_a_warm_start_that_cannot_be_is_one_line(whole, tmp_path, override, lines):
    code, output = run(tmp_path / "run", f"warm_start={whole[0]}", override)
    assert code == 2, output
    said = output.strip().splitlines()
    assert len(said) == 1, output
    assert all(part in said[0] for part in lines)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_stepz=5", "Could not override 'trainer.max_stepz'"),
        ("model=huge", "Could not find 'model/huge'"),
        ("resume=nowhere", "nowhere"),
        ("callbacks.checkpoint.every_n_steps=0", "every_n_steps must be at least 1"),
    ],
)
def test_bad_overrides_are_refused_by_name(tmp_path, override, message):
    code, output = run(tmp_path / "run", override)
    assert code != 0
    assert message in output
