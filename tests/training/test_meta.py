"""A whole training step on ``meta`` tensors, through Lightning's own loop: what CUDA would run, without a stall.

The accelerator's device is ``meta``. From the third step on, everything a step does runs under
:class:`tests.residency.Residency`; the first two steps create the state of the optimiser and the logged figures. A step
moves the samples and runs the network, loss, optimiser, average of the weights, logging and all callbacks of
``configs/callbacks/default.yaml``. Captured synthesis runs there too; a refused capture ends the test.
"""

import importlib
from contextlib import nullcontext
from functools import partial

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import SingleDeviceStrategy

from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training import callbacks, checkpoints, data
from anystar_torch.training import module as training_module
from anystar_torch.training.callbacks import SamplePicture
from tests.conftest import ROOT
from tests.residency import Residency, ResidencyError
from tests.training.annotated import write_start

SMALL = [
    "model=small",
    "shape=[16,16,16]",
    "model.rays=8",
    "model.features=8",
    "model.backbone.filters=4",
    "model.backbone.depth=1",
    "trainer.max_steps=1000",
    "trainer.log_every_n_steps=3",
    "callbacks.stop_on_non_finite.every_n_steps=2",
    "callbacks.throughput.every_n_steps=2",
]
STEPS = 8
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning"
)  # of Lightning's own making


class Meta(CPUAccelerator):
    """An accelerator whose device has no data."""

    def setup_device(self, device):
        assert device.type == "meta"


class OnMeta(SingleDeviceStrategy):
    """Has no data for what Lightning reads before the first step and after the last."""

    def reduce(self, tensor, *args, **kwargs):
        return torch.tensor(1000) if tensor.is_meta else tensor  # the length of the loader

    def teardown(self):
        pass


class MetaStreams:
    """Streams of a device that does nothing. As on CUDA, a replay dispatches no operators."""

    def __init__(self, device):
        self.device, self.replays = device, 0

    side = staticmethod(nullcontext)

    def mark(self):
        return object()

    def wait(self, mark):
        pass

    def finish(self):
        pass

    def seconds(self, first, second):
        return 0.25

    def pinned(self, ids):
        return torch.empty(len(ids), dtype=torch.int64, device="meta")

    def buffer(self, like):
        return torch.empty_like(like)

    def refusing_synchronisation(self):
        return Residency("meta")

    def capture(self, work):
        with Residency("meta"):
            made = work()
        return self._replay, made

    def _replay(self):
        self.replays += 1


class MetaCopy:
    """Stands for the copy to pinned memory; its value is that of a good loss."""

    def __init__(self, tensor):
        assert tensor.is_meta
        self.shape = tensor.shape

    def value(self):
        return torch.ones(self.shape)


class Stop(Callback):
    """Ends the run before its last step."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert all(tensor.is_meta for tensor in batch)
        trainer.should_stop = trainer.global_step == STEPS


def _with_meta(supported):
    return [*supported(), "meta"]


@pytest.fixture
def on_meta(monkeypatch):
    """Replaces what is below the reach of the dispatch mode: streams and pinned memory; a picture and a checkpoint."""
    monkeypatch.setattr(data, "streams_of", MetaStreams)
    monkeypatch.setattr(callbacks, "HostCopy", MetaCopy)
    monkeypatch.setattr(checkpoints, "HostCopy", MetaCopy)
    monkeypatch.setattr(checkpoints.Checkpoints, "_save", lambda self, trainer, name: None)
    monkeypatch.setattr(training_module, "HostCopy", MetaCopy)
    monkeypatch.setattr(SamplePicture, "_write", lambda self, trainer: setattr(self, "_seen", None))
    optimizer = importlib.import_module("torch.optim.optimizer")
    for kind in ("fused", "foreach"):  # as on CUDA
        name = f"_get_{kind}_kernels_supported_devices"
        monkeypatch.setattr(optimizer, name, partial(_with_meta, getattr(optimizer, name)))


def fitted(folder, *overrides, more=()):
    """The operators of the steps under residency, by name, and how often the graph of the samples was replayed."""
    register_resolvers()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", [*SMALL, f"run_folder={folder}", *overrides])
    training, source = instantiate(config.training), instantiate(config.data)
    trainer = L.Trainer(
        strategy=OnMeta("meta", accelerator=Meta()),
        callbacks=[*instantiate(config.callbacks).values(), Stop(), *more],
        logger=list(instantiate(config.logger).values()),
        default_root_dir=folder,
        max_steps=config.trainer.max_steps,
        log_every_n_steps=config.trainer.log_every_n_steps,
        gradient_clip_val=config.trainer.get("gradient_clip_val"),
        limit_val_batches=0,
        enable_model_summary=False,
    )
    replays = []
    mode, loop = Residency("meta", host=True), trainer.fit_loop.epoch_loop
    advance = loop.advance

    def watched(fetcher):
        with mode if trainer.global_step >= 2 else nullcontext():
            advance(fetcher)
        replays[:] = [source._streams.replays]

    loop.advance = watched
    trainer.fit(training, datamodule=source)
    assert trainer.global_step == STEPS
    assert source.waited_seconds > 0
    return mode.operators, replays[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("experiment", "update"),
    [("mix", "aten._fused_adam_.default"), ("zero_shot", "aten._foreach_addcdiv_.ScalarList")],
)
def test_no_step_stalls_or_leaves_the_device(experiment, update, tmp_path, on_meta):
    """``zero_shot`` clips gradients, with which Lightning takes no fused optimiser."""
    operators, _ = fitted(tmp_path, f"+experiment={experiment}", "hardware=gpu", "model=small")
    steps = STEPS - 2
    assert operators[update] == steps, "one launch for all weights"
    moments = 0 if "fused" in update else steps  # of Adam, which also are averages
    assert operators["aten._foreach_lerp_.Scalar"] == steps + moments
    assert operators["aten._foreach_copy_.default"] == steps, "counters of batch normalisation"
    assert (tmp_path / "csv").is_dir()


@pytest.mark.long
def test_no_step_of_a_fine_tuning_stalls(tmp_path, on_meta, monkeypatch):
    """Crops of an annotated volume among synthetic samples, whose targets are predictions of the first network."""
    folder = write_start(tmp_path)
    monkeypatch.setattr(f"{__name__}.SMALL", [one for one in SMALL if not one.startswith("model")])
    operators, replays = fitted(
        tmp_path / "run",
        "+experiment=finetune",
        "hardware=gpu",
        f"data.annotated=[{{image: {folder / 'a.tif'}, labels: {folder / 'a_labels.tif'}}}]",
        f"warm_start={folder / 'start'}",
    )
    assert replays == STEPS + 1, "one call in advance"
    assert operators["aten.index_copy.default"] == 2 * (STEPS - 2), "targets of both kinds, in every step"
    assert operators["anystar.stardist_loss.default"] == STEPS - 2


@pytest.mark.long
def test_samples_of_several_steps_in_one_call(tmp_path, on_meta):
    _, replays = fitted(tmp_path, "+experiment=plain", "hardware=gpu", "data.samples_per_call=6")
    assert replays == 4, "three steps a call, one call in advance"


class Reads(Callback):
    """What Lightning does with a logged tensor in the progress bar."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 4:
            outputs["loss"].item()


class Uploads(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 4:
            pl_module.log("figure", 1.0)


@pytest.mark.long
@pytest.mark.parametrize("mistake", [Reads, Uploads])
def test_a_mistake_in_a_step_is_found(mistake, tmp_path, on_meta):
    with pytest.raises(ResidencyError):
        fitted(tmp_path, "+experiment=plain", "hardware=gpu", more=[mistake()])


@pytest.mark.long
def test_batches_are_made_on_meta():
    """From the second on: the first copies the constants of the generator to the device."""
    register_resolvers()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        source = instantiate(compose("train", ["+experiment=zero_shot", *SMALL, "run_folder=none"]).data)
    ids = torch.empty(2, dtype=torch.int64, device="meta")
    source.make(ids, source.synthesizer)
    with Residency("meta"):
        batch = source.make(ids, source.synthesizer)
    assert batch.distances.shape == (2, 8, 8, 8, 8)
