"""Reports predict on the device of the training, also where the machine has a GPU, which may be one that fails."""

from io import StringIO

import lightning as L
import numpy as np
import pytest
import tifffile
import torch
from rich.console import Console

from anystar_torch.system.device import resolve
from tests.training.annotated import write_start
from tests.training.test_finetuning_data import data
from tests.training.test_finetuning_parts import module
from tests.training.test_finetuning_parts import report as finetuning_report
from tests.training.test_report import ball, report, run

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]  # of Lightning


@pytest.fixture(autouse=True)
def with_gpu(monkeypatch):
    """A machine whose GPU is found, and fails when it is used."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 99)
    assert resolve("auto") == torch.device("cuda", 99)


def test_the_report_of_a_training_on_the_cpu(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", ball(5)[20:41, 20:41, 20:41].astype(np.float32))
    made = report(tmp_path / "run", image=str(tmp_path / "image.tif"), diameter=10)
    status, _, _ = run(made, 0, {"probability": 0.5, "distance": 4.0})
    assert status == 0
    assert (tmp_path / "run" / "model" / "config.json").is_file()
    assert (tmp_path / "run" / "real.png").is_file()


def test_the_report_of_a_fine_tuning_on_the_cpu(tmp_path):
    folder = write_start(tmp_path)
    (tmp_path / "run").mkdir()
    made = finetuning_report(tmp_path / "run")
    made.console = Console(file=StringIO(), width=200)
    trainer = L.Trainer(max_steps=0, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert made(trainer, module(folder), data(folder, held_out=0.4)) == 0
    assert "thresholds: chosen on" in made.console.file.getvalue()
    for name in ("annotation_before.png", "annotation_after.png", "synthetic_before_after.png"):
        assert (tmp_path / "run" / name).is_file()
