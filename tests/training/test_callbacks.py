"""What surrounds the training step, each callback alone; stopping and resuming are tested in test_train.py."""

import signal
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
from anystar_torch.training.checkpoints import Checkpoints, averaged_weights, best_score
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
        "ckpt_path": None,
        "datamodule": data,
    }
    fake.configure_mock(global_step=step, **{**state, **more})
    return fake


def saving(step, **more):
    """A trainer whose checkpoint is its step as text."""
    fake = trainer(step, max_steps=12, **more)

    def save(path):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(step))

    fake.save_checkpoint = save
    return fake


MODULE = Mock(spec=L.LightningModule)


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


def test_checkpoints_are_written_in_time_and_at_the_end(tmp_path):
    callback = Checkpoints(str(tmp_path / "checkpoints"), every_n_steps=5)
    seen, last = [], tmp_path / "checkpoints" / "last.ckpt"
    for step in range(1, 13):
        state = saving(step)
        callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
        seen.append(int(last.read_text()) if last.exists() else 0)
    assert seen == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 12]
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(("mode", "kept"), [("max", [1, 1, 3, 3]), ("min", [1, 2, 2, 4])])
def test_the_best_validation_is_kept(tmp_path, mode, kept):
    callback = Checkpoints(str(tmp_path), every_n_steps=100, monitor="val_ap", mode=mode)
    callback.on_train_start(saving(0), MODULE)
    seen = []
    for step, score in enumerate([0.2, 0.1, 0.4, 0.05], start=1):
        metrics = {"val_ap": torch.tensor(score)}
        callback.on_validation_end(saving(step, callback_metrics=metrics, sanity_checking=False), MODULE)
        seen.append(int((tmp_path / "best.ckpt").read_text()))
    callback.on_train_end(saving(4), MODULE)
    assert seen == kept


def test_a_resumed_run_remembers_its_best(tmp_path):
    """The figure is read from best.ckpt itself; a new run in the same folder starts without one."""
    assert best_score(tmp_path) is None
    content = {"callbacks": {"Checkpoints": {"best": 0.4}}, "state_dict": {"network.a": torch.ones(2)}}
    torch.save(content, tmp_path / "best.ckpt")
    assert best_score(tmp_path) == 0.4
    assert torch.equal(averaged_weights(tmp_path / "best.ckpt")["a"], torch.ones(2))
    for path, expected in ((tmp_path / "last.ckpt", 0.4), (None, None)):
        callback = Checkpoints(str(tmp_path), every_n_steps=100, monitor="val_ap")
        callback.on_train_start(saving(5, ckpt_path=path), MODULE)
        callback.on_train_end(saving(5), MODULE)
        assert callback.best == expected


def test_a_figure_that_is_not_logged_cannot_be_the_best(tmp_path):
    callback = Checkpoints(str(tmp_path), every_n_steps=100, monitor="val_dice")
    metrics = {"val_ap": torch.tensor(0.2), "loss": torch.tensor(1.0)}
    with pytest.raises(ValueError, match=r"monitor=val_dice is not logged; logged figures: val_ap$"):
        callback.on_validation_end(saving(5, callback_metrics=metrics, sanity_checking=False), MODULE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish(tmp_path, number):
    before = signal.getsignal(number)
    callback = Checkpoints(str(tmp_path), every_n_steps=5)
    state = saving(7, should_stop=False, limit_val_batches=1.0)
    callback.on_train_start(state, MODULE)
    signal.raise_signal(number)
    last = tmp_path / "last.ckpt"
    assert not last.exists(), "the step was still running"
    callback.on_train_batch_end(state, MODULE, {}, batch(), 6)
    assert last.read_text() == "7"
    assert state.should_stop
    assert state.limit_val_batches == 0, "a stopped run must not wait for a validation"
    callback.on_train_end(state, MODULE)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("device", "asked"), [("cpu", [1, 2, 3, 4, 5, 6, 7]), ("cuda", [3, 6])])
def test_several_gpus_agree_now_and_then(tmp_path, device, asked):
    """Every agreement makes the host wait for the devices."""
    seen = []
    strategy = SimpleNamespace(
        reduce_boolean_decision=lambda decision, all: seen.append(decision) or decision,
        root_device=torch.device(device),
    )
    callback = Checkpoints(str(tmp_path), every_n_steps=100, signal_every_n_steps=3)
    steps = []
    for step in range(1, 8):
        before = len(seen)
        callback.on_train_batch_end(saving(step, world_size=2, strategy=strategy), MODULE, {}, batch(), step)
        steps += [step] * (len(seen) - before)
    assert steps == asked


def test_checkpoints_need_a_period_and_a_direction():
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        Checkpoints("folder", 0)
    with pytest.raises(ValueError, match="mode must be max or min, got 'highest'"):
        Checkpoints("folder", 1, "val_ap", "highest")
