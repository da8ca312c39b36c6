"""``python train.py`` in a folder of an earlier run, after a kill or signal at the end, and with refused settings."""

import os
import shutil
import signal
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from anystar_torch.training import main
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training as Module
from anystar_torch.training.report import Report
from anystar_torch.training.runs import Run
from anystar_torch.training.stages import Stage
from tests.training.processes import Training
from tests.training.runs import TINY, assert_same_weights, contents, losses, run

pytestmark = pytest.mark.long  # trainings in processes of their own

SIGNAL = "{_target_: tests.training.runs.SignalInValidation, step: 12, number: %d}"


def only_line(output):
    (line,) = output.strip().splitlines()
    return line


def test_a_new_run_leaves_the_folder_of_another_as_it_is(whole):
    before = contents(whole[0])
    code, output = run(whole[0], "seed=2")
    assert code == 2, output
    assert f"resume it with resume={whole[0]}, or choose another run_folder" in only_line(output)
    assert contents(whole[0]) == before


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
def test_a_run_killed_in_its_last_validation_repeats_it(whole, tmp_path):
    folder = tmp_path / "run"
    code, _ = run(folder, f"+callbacks.kill={SIGNAL % signal.SIGKILL}")
    assert code == -signal.SIGKILL
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] < 12
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert "step 12: val_loss" in output
    assert "resumed: callbacks.kill.step is None from here on; it was 12" in output
    assert_same_weights(folder, whole[0])


def test_a_signal_in_the_last_validation_stops_before_the_report(whole, tmp_path):
    folder = tmp_path / "run"
    code, output = run(folder, f"+callbacks.kill={SIGNAL % signal.SIGTERM}")
    assert code == 130, output
    assert (
        f"stopped before the end of the report; to resume it, repeat the command with resume={folder}"
        in output
    )
    assert not (folder / "model").exists()
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert_same_weights(folder, whole[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_report_is_one_line(whole, tmp_path, number):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    report = ["report._target_=tests.training.runs.SignalInReport", f"+report.number={int(number)}"]
    code, output = run(folder, f"resume={folder}", *report)
    assert code == 130, output
    assert output.strip().splitlines()[-1] == (
        f"train.py: stopped before the end of the report; to resume it, repeat the command with resume={folder}"
    )
    assert "picture:" not in output


def test_a_signal_in_the_last_validation_of_a_stage_stops_before_the_next(tmp_path):
    folder = tmp_path / "run"
    code, output = run(folder, "stages=[[],['seed=2']]", f"+callbacks.kill={SIGNAL % signal.SIGINT}")
    assert code == 130, output
    assert f"stopped in stage 1 of 2; to resume it, repeat the command with resume={folder}" in output
    assert "stage 2 of 2" not in output


def test_a_run_that_something_else_stops_can_be_resumed(whole, tmp_path):
    folder = tmp_path / "run"
    code, output = run(folder, "+callbacks.stop={_target_: tests.training.runs.StopAfter, step: 7}")
    assert code == 130, output
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 7
    assert "stopped after step 7 of 12" in output
    code, output = run(folder, f"resume={folder}")
    assert code == 0, output
    assert_same_weights(folder, whole[0])


def test_a_resumed_run_says_what_changed_and_has_the_new_learning_rate(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    words = ["trainer.max_steps=14", "training.optimizer.lr=2e-3", "training.optimizer.eps=1"]
    code, output = run(folder, f"resume={folder}", *words)
    assert code == 0, output
    lines = [line for line in output.splitlines() if line.startswith("resumed: ")]
    assert lines == [
        "resumed: training.optimizer.lr is 0.002 from here on; it was 0.001",
        "resumed: training.optimizer.eps stays 1e-07; 1 is not applied",
        "resumed: trainer.max_steps is 14 from here on; it was 12",
    ]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = state["optimizer_states"][0]["param_groups"]
    assert (group["initial_lr"], group["eps"]) == (2e-3, 1e-7)
    assert state["lr_schedulers"][0]["base_lrs"] == [2e-3]
    stored = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert (stored.training.optimizer.lr, stored.training.optimizer.eps) == (2e-3, 1e-7)
    assert max(losses(folder)) == 13


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["+trainer.accumulate_grad_batches=2"],
            "trainer.accumulate_grad_batches must be 1, got 2; set batch_size",
        ),
        (
            ["+trainer.gradient_clip_val=1", "trainer.precision=bf16-mixed"],
            "set training.optimizer.fused=null",
        ),
        (
            ["stages=[[],['data.samples_per_call=3']]"],
            "stage 2 of 2: samples_per_call must be a multiple",
        ),
        (
            ["stages=[[],['model.grid=[1,2,2]']]"],
            "stage 2 of 2: its network is not that of stage 1: grid is [2, 2, 2] there and [1, 2, 2] here",
        ),
        (["minutes=9", "report.image=missing.tif"], "missing.tif"),
        (["minutes=9", "+trainer.accumulate_grad_batches=2"], "accumulate_grad_batches must be 1"),
        (["-m", "seed=1", "minutes=9", "trainer.devices=2"], "a job of a sweep cannot start 2 processes"),
    ],
)
def test_settings_are_refused_before_anything_is_measured_or_trained(tmp_path, words, message):
    tiny = [word for word in TINY if not (word.startswith("trainer.max_steps") and "minutes=9" in words)]
    code, output = Training.forked(tmp_path, [*tiny, f"run_folder={tmp_path / 'run'}", *words]).ended()
    assert code == 2, output
    assert message in next(line for line in output.splitlines() if line.startswith("train.py: "))
    assert "measuring" not in output
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_ctrl_c_in_the_report_is_one_line(tmp_path, monkeypatch, capsys):
    trainer = Mock(spec=L.Trainer, loggers=[], global_step=12, max_steps=12)
    trainer.configure_mock(checkpoint_callback=None, is_global_zero=True)
    made = Run(trainer, Mock(spec=Module), Mock(spec=SynthesisData), None, Mock(spec=Report))
    made.report.side_effect = KeyboardInterrupt
    monkeypatch.setattr(main, "_prepared", lambda stage: made)
    stage = Mock(spec=Stage, last=True, folder=str(tmp_path))
    assert main._train_stage(stage, ["train.py"], False)[1] == 130
    assert only_line(capsys.readouterr().err) == "train.py: stopped before the first checkpoint was written"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert main._train_stage(stage, ["train.py"], False)[1] == 130
    assert only_line(capsys.readouterr().err) == (
        f"train.py: stopped before the end of the report; to resume it, repeat the command with resume={tmp_path}"
    )
