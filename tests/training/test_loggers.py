"""Weights & Biases: what is said where it is missing, and that a resumed run goes on in the same place."""

import sys
from types import ModuleType
from unittest.mock import Mock

import lightning as L
import pytest
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers import wandb as lightning_wandb

from anystar_torch.training import loggers, main
from anystar_torch.training.loggers import weights_and_biases
from anystar_torch.training.runs import Run
from anystar_torch.training.stages import Stage


def test_without_wandb_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="Biases logger needs the wandb package: pip install wandb"):
        weights_and_biases(folder=str(tmp_path))
    assert not list(tmp_path.iterdir())


def fake_wandb(monkeypatch):
    """A package in which at most one run is going on, as in Weights & Biases."""
    wandb, lib, run = (ModuleType(name) for name in ("wandb", "wandb.sdk.lib", "wandb.wandb_run"))
    wandb.run, lib.RunDisabled, run.Run = None, type("RunDisabled", (), {}), type("Run", (), {})

    def init(**settings):
        wandb.run = run.Run()
        wandb.run.id = settings["id"]
        return wandb.run

    wandb.init, wandb.finish = init, lambda: setattr(wandb, "run", None)
    for name, module in (("wandb", wandb), ("wandb.sdk.lib", lib), ("wandb.wandb_run", run)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: wandb)
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", True)
    return wandb


def stage(folder):
    """A stage that is complete, and whose logger is that of a run in ``folder``."""
    trainer = Mock(
        spec=L.Trainer, loggers=[weights_and_biases(folder=str(folder))], global_step=1, max_steps=1
    )
    trainer.configure_mock(checkpoint_callback=None, strategy=Mock(), is_global_zero=True)
    trainer.fit = lambda *_, **__: trainer.seen.append(trainer.loggers[0].experiment.id)
    trainer.seen = []
    return Run(trainer, Mock(), Mock(), None, Mock())


def test_every_stage_and_job_logs_into_a_run_of_its_own(tmp_path, monkeypatch):
    wandb = fake_wandb(monkeypatch)
    seen = []
    for name in ("first", "second"):
        run = stage(tmp_path / name)
        monkeypatch.setattr(main, "_prepared", lambda stage, run=run: run)
        assert main._train_stage(Mock(spec=Stage, last=False), ["train.py"], False)[1] == 0
        assert run.trainer.seen == [(tmp_path / name / "wandb_id").read_text()]
        seen += run.trainer.seen
        assert wandb.run is None
    assert len(set(seen)) == 2


def test_a_resumed_run_goes_on_in_the_same_place(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: ModuleType(name))
    made = []

    def logger(**settings):
        made.append(settings)
        return Mock(spec=WandbLogger)

    monkeypatch.setattr(loggers, "WandbLogger", logger)
    for _ in range(2):
        weights_and_biases(folder=str(tmp_path / "run"), project="anystar")
    assert made[0] == made[1]
    assert made[0]["id"] == (tmp_path / "run" / "wandb_id").read_text()
    assert made[0] | {"id": ""} == {
        "id": "",
        "resume": "allow",
        "save_dir": str(tmp_path / "run"),
        "project": "anystar",
    }
