"""Small trainings in processes of their own, and what they wrote."""

import csv
import os
import signal
from dataclasses import replace

import lightning as L
import torch
from safetensors.torch import load_file

from anystar_torch import AnyStar
from anystar_torch.training.report import Report
from tests.training.processes import Training

TINY = [
    "+experiment=plain",
    "hardware=laptop",
    "model=small",
    "shape=[16,16,16]",
    "model.rays=8",
    "model.backbone.filters=4",
    "model.backbone.depth=1",
    "model.features=8",
    "trainer.max_steps=12",
    "trainer.val_check_interval=6",
    "trainer.precision=32-true",
    "trainer.log_every_n_steps=1",
    "data.validation_samples=2",
    "report.samples=2",
    "callbacks.samples.samples=2",
    "report.min_f1=0",
    "callbacks.checkpoint.every_n_steps=5",
]


def start(folder, *overrides):
    """A training in ``folder``, started in the folder above."""
    return Training.forked(folder.parent, [*TINY, f"run_folder={folder}", *overrides])


def run(folder, *overrides):
    """Exit status and output of a training."""
    return start(folder, *overrides).ended()


def losses(folder):
    """Loss by step, over all parts of a run that was resumed."""
    found = {}
    for path in sorted((folder / "csv").rglob("metrics.csv")):
        for row in csv.DictReader(path.read_text().splitlines()):
            if row.get("loss"):
                found[int(row["step"])] = row["loss"]
    return found


def assert_same_weights(folder, other, exported=True):
    """Bit for bit: what is trained, its average, the optimiser's state, and what is exported."""
    last, expected = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (folder, other))
    for key in ("current_model_state", "state_dict"):
        assert all(torch.equal(last[key][name], value) for name, value in expected[key].items()), key
    moments, expected_moments = (c["optimizer_states"][0]["state"] for c in (last, expected))
    for index, state in expected_moments.items():
        assert all(torch.equal(moments[index][name], value) for name, value in state.items())
    if not exported:
        return
    model, expected_model = (load_file(f / "model" / "weights.safetensors") for f in (folder, other))
    assert all(torch.equal(model[name], value) for name, value in expected_model.items())


def contents(folder):
    """Every file of a folder and its bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class SignalInValidation(L.Callback):
    """Sends a signal to this process when the validation after ``step`` begins."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_validation_start(self, trainer, pl_module):
        if trainer.global_step == self.step:
            signal.raise_signal(self.number)


class SignalInReport(Report):
    """A report during which a signal comes to this process."""

    def __init__(self, *, number, **settings):
        super().__init__(**settings)
        self.number = number

    def _segment_real(self, model):
        signal.raise_signal(self.number)
        super()._segment_real(model)


class StopAfter(L.Callback):
    """Stops the training after a step, as ``trainer.max_time`` does."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop |= trainer.global_step == self.step


class Payload:
    """An object whose loading makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def measured_receptive_field(model):
    """The effective receptive field of the weights of a model; that of its configuration is not used."""
    config = replace(model.config, receptive_field=None)
    return AnyStar(model.network, config).tile_network("cpu").halo
