"""What surrounds the training step, each callback alone; stopping and resuming are tested in test_train.py."""

from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from anystar_torch.training import callbacks
from anystar_torch.training.callbacks import (
    Average,
    NonFiniteLossError,
    SamplePicture,
    StopOnNonFinite,
    Throughput,
)
from anystar_torch.training.data import Batch


def batch(first=0):
    volume = torch.rand(2, 1, 16, 16, 16)
    labels = (volume > 0.5).to(torch.int32)
    return Batch(
        torch.tensor([first, first + 1]),
        volume,
        labels,
        torch.zeros(2, 1, 8, 8, 8),
        torch.zeros(2, 8, 8, 8, 8),
    )


def trainer(step, **more):
    """Looks like a trainer, and has what the callbacks read of one."""
    fake = Mock(spec=L.Trainer)
    alone = SimpleNamespace(
        reduce_boolean_decision=lambda decision, all: decision,
        broadcast=lambda value: value,
        root_device=torch.device("cpu"),
    )
    data = SimpleNamespace(synthesizer=SimpleNamespace(seed=7, shape=(8, 9, 10)), waited_seconds=0.0)
    state = {
        "world_size": 1,
        "is_global_zero": True,
        "strategy": alone,
        "loggers": [],
        "callbacks": [],
        "ckpt_path": None,
        "should_stop": False,
        "limit_val_batches": 1.0,
        "val_check_batch": 1000,
        "datamodule": data,
    }
    fake.configure_mock(global_step=step, **{**state, **more})
    return fake


MODULE = Mock(spec=L.LightningModule)
MODULE.parameters.return_value = []


def run(callback, losses, end=True):
    for step, loss in enumerate(losses, start=1):
        outputs = {"loss": torch.tensor(loss)}
        callback.on_train_batch_end(trainer(step), MODULE, outputs, batch(2 * (step - 1)), step - 1)
    if end:
        callback.on_train_end(trainer(len(losses)), MODULE)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("at", [3, 5])
def test_a_loss_that_is_not_finite_names_its_samples(bad, at):
    losses = [1.0] * 6
    losses[at - 1] = bad
    first, second = 2 * at - 2, 2 * at - 1
    with pytest.raises(NonFiniteLossError, match=rf"step {at} .*\[{first}, {second}\]") as refusal:
        run(StopOnNonFinite(every_n_steps=4), losses)
    assert f"anystar gallery --seed 7 --shape 8 9 10 --ids {first},{second} (" in str(refusal.value)


def test_finite_losses_pass():
    run(StopOnNonFinite(every_n_steps=4), [1.0] * 6)


class Clock:
    """In place of the module ``time``: stands still unless it is moved."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def logged_figures(callback, step, waited=0.0):
    """What a callback logs at the end of a step."""
    module, logged = Mock(spec=L.LightningModule), {}
    module.log = lambda name, value, prog_bar: logged.update({name: value})
    state = trainer(step, datamodule=SimpleNamespace(waited_seconds=waited))
    callback.on_train_batch_end(state, module, {}, batch(), step)
    return logged


def test_throughput_counts_samples_and_synthesis(clock):
    callback = Throughput(every_n_steps=2)
    callback.on_train_start(trainer(0), MODULE)
    clock.now += 0.5
    assert not logged_figures(callback, 1, waited=0.25)
    clock.now += 0.5
    logged = logged_figures(callback, 2, waited=0.5)
    assert all(value.device.type == "cpu" for value in logged.values())
    assert {name: value.item() for name, value in logged.items()} == {"samples/s": 4.0, "synthesis %": 50.0}


def test_validation_is_no_part_of_the_speed(clock):
    callback = Throughput(every_n_steps=1)
    callback.on_train_start(trainer(0), MODULE)
    clock.now += 1.0
    callback.on_validation_start(trainer(1), MODULE)
    clock.now += 100.0
    callback.on_validation_end(trainer(1), MODULE)
    assert logged_figures(callback, 1)["samples/s"].item() == 2.0


@pytest.mark.long
def test_what_is_kept_of_a_batch_is_a_copy(tmp_path):
    """On a GPU a batch is overwritten two steps later."""
    pictures = []
    for overwritten in (False, True):
        torch.manual_seed(1)
        given, loss = batch(), {"loss": torch.tensor(float("nan"))}
        path = tmp_path / f"{overwritten}.png"
        picture, stop = SamplePicture(str(path), samples=4), StopOnNonFinite(every_n_steps=2)
        picture.on_train_start(trainer(0), MODULE)
        for callback in (picture, stop):
            callback.on_train_batch_end(trainer(1), MODULE, loss, given, 0)
        for tensor in given if overwritten else ():
            tensor.fill_(77)
        picture.on_train_end(trainer(1), MODULE)
        pictures.append(np.asarray(Image.open(path)))
        with pytest.raises(NonFiniteLossError, match=r"step 1 .*\[0, 1\]"):
            stop.on_train_end(trainer(1), MODULE)
    np.testing.assert_array_equal(*pictures)


def averaging(module):
    callback = Average(decay=0.75)
    callback.setup(trainer(0), module, "fit")
    callback.on_fit_start(trainer(0), module)
    callback.on_train_start(trainer(0), module)
    return callback


def average_of(callback, module):
    """The averaged weights, as a checkpoint stores them."""
    checkpoint = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(trainer(1), module, checkpoint)
    return checkpoint["state_dict"]


class Tiny(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def test_the_average_starts_as_the_weights_and_follows_them():
    module, steps = Tiny(), [1.0, 2.0, 4.0]
    callback = averaging(module)
    for step, value in enumerate(steps, start=1):
        with torch.no_grad():
            module.layers[0].weight.fill_(value)
        module.layers[1].num_batches_tracked.fill_(step)
        for _ in range(2):  # the second time without a step of the optimiser in between
            callback.on_train_batch_end(trainer(step), module, {}, None, step)
    average = average_of(callback, module)
    assert average["layers.0.weight"].unique().tolist() == [1.9375]  # 1, then 1.25, then 1.9375
    assert average["layers.1.num_batches_tracked"] == 3


def test_the_average_is_where_the_module_is():
    """Lightning builds it before it moves the module."""
    module, callback = Tiny(), Average(decay=0.9)
    callback.setup(trainer(0), module, "fit")
    module.to("meta")
    callback.on_fit_start(trainer(0), module)
    assert {tensor.device.type for tensor in average_of(callback, module).values()} == {"meta"}


def test_a_resumed_average_goes_on():
    module = Tiny()
    first = averaging(module)
    first.on_train_batch_end(trainer(1), module, {}, None, 0)
    checkpoint = {"state_dict": module.state_dict()}
    first.on_save_checkpoint(trainer(1), module, checkpoint)
    second = averaging(module)
    second.on_load_checkpoint(trainer(1), module, {**checkpoint})
    for callback in (first, second):
        with torch.no_grad():
            module.layers[0].bias.fill_(3.0)
        callback.on_train_batch_end(trainer(2), module, {}, None, 1)
    states = [average_of(callback, module) for callback in (first, second)]
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())


def images_in(folder):
    """tag -> (width, height) of every picture TensorBoard was given."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(image.width, image.height) for image in events.Images(tag)] for tag in events.Tags()["images"]
    }


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_first_samples_become_a_picture(tmp_path, steps):
    """Image, labels and probability of four samples, or of as many as a shorter run has; also in TensorBoard."""
    logger = TensorBoardLogger(tmp_path, name="", version="tb")
    callback = SamplePicture(str(tmp_path / "samples.png"), samples=4)
    callback.on_train_start(trainer(0), MODULE)
    for step in range(1, steps + 1):
        callback.on_train_batch_end(trainer(step, loggers=[logger]), MODULE, {}, batch(), step)
        assert (tmp_path / "samples.png").exists() == (step >= 2)
    callback.on_train_end(trainer(steps, loggers=[logger]), MODULE)
    logger.experiment.close()
    (width, height), *more = images_in(tmp_path / "tb")["first samples"]
    assert not more
    assert width / height == pytest.approx(min(2 * steps, 4) / 3, rel=0.1), "a column per sample, three rows"


def test_a_resumed_run_makes_no_picture(tmp_path):
    callback = SamplePicture(str(tmp_path / "samples.png"), samples=2)
    callback.on_train_start(trainer(7), MODULE)
    callback.on_train_batch_end(trainer(8), MODULE, {}, batch(), 8)
    callback.on_train_end(trainer(8), MODULE)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_elsewhere_stops_this_rank_too():
    """Ranks stop together: the one that found nothing says that another did."""
    together = SimpleNamespace(reduce_boolean_decision=lambda decision, all: True)
    callback = StopOnNonFinite(every_n_steps=1)
    with pytest.raises(NonFiniteLossError, match="another rank"):
        callback.on_train_batch_end(
            trainer(1, strategy=together), MODULE, {"loss": torch.tensor(1.0)}, batch(), 0
        )
