"""Reports predict on the device of the training, also where the machine has a GPU, which may be one that fails."""

from io import StringIO

import lightning as L
import numpy as np
import pytest
import tifffile
import torch
from rich.console import Console

from anystar_torch import load_synthesizer
from anystar_torch.system.device import resolve
from anystar_torch.training.finetuning_data import FineTuningData
from anystar_torch.training.finetuning_report import FineTuningReport
from tests.training.annotated import write_start
from tests.training.test_annotated_crops import crops
from tests.training.test_finetuning_parts import module
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
    data = FineTuningData(
        annotated=[{"image": str(folder / "a.tif"), "labels": str(folder / "a_labels.tif")}],
        annotated_share=1.0,
        held_out=0.4,
        crops=crops(),
        start=str(folder / "start"),
        synthesizer=load_synthesizer("plain", shape=(16, 16, 16), seed=1),
        batch_size=1,
        validation_samples=1,
    )
    made = FineTuningReport(
        folder=str(tmp_path / "run"),
        export={"weights": "last", "recipe": "finetune"},
        samples=1,
        min_f1=0.0,
        image=None,
        truth=None,
        diameter=None,
        spacing=None,
    )
    made.console = Console(file=StringIO(), width=200)
    trainer = L.Trainer(max_steps=0, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert made(trainer, module(folder), data) == 0
    assert "thresholds: chosen on" in made.console.file.getvalue()
    for name in ("annotation_before.png", "annotation_after.png", "synthetic_before_after.png"):
        assert (tmp_path / "run" / name).is_file()
