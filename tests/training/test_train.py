"""``python train.py`` as a user runs it: what it writes, how it stops, how it goes on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from anystar_torch import __version__
from tests.training.processes import ROOT
from tests.training.runs import Payload, assert_same_weights, contents, losses, run, start

pytestmark = pytest.mark.long  # trainings in processes of their own


def test_writes_nothing_but_the_run_folder(whole):
    folder, output = whole
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert not list((folder / "csv").rglob("*.ckpt"))
    assert (folder / "model" / "weights.safetensors").is_file()
    assert (folder / ".hydra" / "config.yaml").is_file()
    assert "F1" in output
    for said in ("model", "checkpoints/last.ckpt", "checkpoints/best.ckpt", "samples.png", "tensorboard"):
        assert str(folder / said) in output
    assert f"anystar predict VOLUME --model {folder / 'model'}" in output


def test_a_clone_without_its_packages_is_told_what_to_install():
    """Python without its site packages."""
    done = subprocess.run([sys.executable, "-S", ROOT / "train.py"], capture_output=True, text=True, env={})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "is not installed; install all with: make setup, or pip install -e ." in line


def test_the_model_says_what_it_is(whole):
    """Everything a user of the weights may ask; read without Lightning or Hydra."""
    config = json.loads((whole[0] / "model" / "config.json").read_text())
    assert config["anystar_torch"] == config["provenance"]["version"] == __version__
    assert (config["architecture"]["rays"], config["architecture"]["grid"]) == (8, [2, 2, 2])
    assert config["architecture"]["backbone"]["kind"] == "unet"
    assert config["normalisation"] == "anystar"
    low, middle, high = config["diameter_band"]
    assert 0 < low < middle < high
    assert 0 < config["prob_thresh"] < 1
    assert 0 <= config["nms_thresh"] < 1
    told = config["provenance"]
    assert (told["recipe"], told["seed"], told["steps"], told["batch_size"]) == ("plain", 12345, 12, 2)
    assert set(told["synthetic_f1"]) == {"0.3", "0.5", "0.7"}
    script = (
        "import sys; from anystar_torch import AnyStar; AnyStar.from_pretrained(sys.argv[1]); "
        "assert not {'lightning', 'hydra', 'omegaconf'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", script, str(whole[0] / "model")], check=True)


def test_validation_is_logged_with_pictures(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (metrics,) = (whole[0] / "csv").rglob("metrics.csv")
    rows = [row for row in csv.DictReader(metrics.read_text().splitlines()) if row["val_loss"]]
    assert [row["step"] for row in rows] == ["5", "11"]
    wanted = [f"val_{score}/{iou}" for score in ("f1", "ap") for iou in ("0.3", "0.5", "0.7")]
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in [*wanted, "val_ap", "val_prob_thresh"])
    events = EventAccumulator(str(next((whole[0] / "tensorboard").iterdir())))
    events.Reload()
    assert {tag: len(events.Images(tag)) for tag in events.Tags()["images"]} == {
        "first samples": 1,
        "predictions": 2,
    }


def test_the_best_weights_can_be_exported(whole, tmp_path):
    """With the best of the run, which is that of step 6: of equals the first."""
    best = whole[0] / "checkpoints" / "best.ckpt"
    shutil.copytree(whole[0], tmp_path / "run")
    code, output = run(tmp_path / "run", f"resume={tmp_path / 'run'}", "report.export.weights=best")
    assert code == 0, output
    exported = load_file(tmp_path / "run" / "model" / "weights.safetensors")
    expected = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(expected[f"network.{name}"], value) for name, value in exported.items())
    assert (
        json.loads((tmp_path / "run" / "model" / "config.json").read_text())["provenance"]["weights"]
        == "best"
    )


def test_every_step_is_logged(whole):
    assert sorted(losses(whole[0])) == list(range(12))


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed_is_the_run_uninterrupted(whole, tmp_path, number):
    folder = tmp_path / "run"
    process = start(folder, "trainer.max_steps=12")
    deadline = time.monotonic() + 120
    while not list(folder.rglob("metrics.csv")) and not (folder / "checkpoints").exists():
        assert process.poll() is None, process.ended()[1]
        assert time.monotonic() < deadline, "training never began"
        time.sleep(0.02)
    process.send_signal(number)
    code, output = process.ended(timeout=120)
    assert code == 130, output
    assert f"resume={folder}" in output
    seen = losses(folder)
    assert len(seen) < 12, "the run was over before the signal came"
    assert output.count("val_loss") == (max(seen) + 1) // 6, "no validation on the way out"
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert losses(folder) == losses(whole[0])
    assert_same_weights(folder, whole[0])


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    last = folder / "checkpoints" / "last.ckpt"
    while not last.is_file():
        assert process.poll() is None, process.ended()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.ended()[0] == -signal.SIGKILL
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert "12/12" in output, "the bar counts the steps of the whole run"
    resumed, uninterrupted = losses(folder), losses(whole[0])
    assert {step: resumed[step] for step in range(5, 12)} == {
        step: uninterrupted[step] for step in range(5, 12)
    }
    assert_same_weights(folder, whole[0])


def test_learning_nothing_is_said_and_exits_with_one(tmp_path):
    code, output = run(tmp_path / "run", "trainer.max_steps=1", "report.min_f1=0.99")
    assert code == 1, output
    assert "learned nothing" in output


def test_a_loss_that_is_not_finite_stops_the_run_with_its_ids(tmp_path):
    """At a learning rate of 1e30 the second step has the weights of no network."""
    code, output = run(
        tmp_path / "run",
        "training.optimizer.lr=1e30",
        "training.schedule.warmup_steps=0",
        "callbacks.stop_on_non_finite.every_n_steps=1",
    )
    assert code == 1, output
    assert "the loss of step 2 is not finite; its batch has the ids [2, 3]" in output
    assert "anystar gallery --seed 12345 --shape" in output
    assert "--ids 2,3 (--synth" in output
    assert "Traceback" not in output


def test_a_warm_start_goes_on_from_the_weights_of_another_run(whole, tmp_path):
    """With a learning rate of zero the new run's model equals the old one, except for the rounding of its average."""
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


@pytest.mark.parametrize("override", ["model.backbone.filters=2", "model.grid=[1,2,2]", "model.rays=9"])
def test_resuming_with_another_model_is_one_line_and_changes_nothing(whole, override):
    """The rays' number changes sizes of weights, and the grid changes none that a state dict would show."""
    before = contents(whole[0])
    code, output = run(whole[0], f"resume={whole[0]}", "trainer.max_steps=14", override)
    assert code == 2, output
    (line,) = output.strip().splitlines()
    assert "another architecture" in line
    assert "there and" in line
    assert contents(whole[0]) == before


def test_resuming_with_a_checkpoint_that_would_execute_code_is_one_line(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    path = folder / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(path, weights_only=True), "x": Payload(tmp_path / "made")}, path)
    code, output = run(folder, f"resume={folder}", "trainer.max_steps=14")
    assert code == 2, output
    (line,) = output.strip().splitlines()
    assert f"{path} is refused" in line
    assert "weights_only" not in line
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_stepz=5", "Could not override 'trainer.max_stepz'"),
        ("model=huge", "Could not find 'model/huge'"),
        ("resume=nowhere", "nowhere"),
        ("callbacks.checkpoint.every_n_steps=0", "every_n_steps must be at least 1"),
        ("callbacks.throughput.every_n_steps=0", "throughput.every_n_steps must be at least 1"),
    ],
)
def test_bad_overrides_are_refused_by_name(tmp_path, override, message):
    code, output = run(tmp_path / "run", override)
    assert code == 2
    (line,) = output.strip().splitlines()
    assert line.startswith("train.py: ")
    assert message in line
