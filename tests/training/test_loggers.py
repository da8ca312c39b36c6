"""Weights & Biases: what is said where it is missing, and that a resumed run goes on in the same place."""

from types import ModuleType
from unittest.mock import Mock

import pytest
from lightning.pytorch.loggers import WandbLogger

from anystar_torch.training import loggers
from anystar_torch.training.loggers import weights_and_biases


def test_without_wandb_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="Biases logger needs the wandb package: pip install wandb"):
        weights_and_biases(folder=str(tmp_path))
    assert not list(tmp_path.iterdir())


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
