"""What surrounds the training step, each callback alone; stopping and resuming are tested in test_train.py."""

import signal
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import pytest
import torch

from anystar_torch.callbacks import (
    Checkpoints,
    NonFiniteLossError,
    SamplePicture,
    StopOnNonFinite,
    Throughput,
)
from anystar_torch.data import Batch


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
    fake.configure_mock(global_step=step, world_size=1, is_global_zero=True, **more)
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
    with pytest.raises(NonFiniteLossError, match=rf"step {at} .*\[{2 * at - 2}, {2 * at - 1}\]"):
        run(StopOnNonFinite(every_n_steps=4), losses)


def test_finite_losses_pass():
    run(StopOnNonFinite(every_n_steps=4), [1.0] * 6)


def test_throughput_counts_samples_and_synthesis():
    logged = {}
    module = Mock(spec=L.LightningModule)
    module.log = lambda name, value, prog_bar: logged.update({name: value})
    callback = Throughput(every_n_steps=2)
    callback._began -= 1.0  # as if the two steps took a second more
    for step in (1, 2):
        state = trainer(step, datamodule=SimpleNamespace(synthesis_seconds=0.25))
        callback.on_train_batch_end(state, module, {}, batch(), step)
    assert logged["samples/s"] == pytest.approx(4, rel=0.1)
    assert logged["synthesis %"] == pytest.approx(50, rel=0.1)


def test_the_first_batches_become_a_picture(tmp_path):
    callback = SamplePicture(str(tmp_path / "samples.png"), batches=2)
    for step in (1, 2, 3):
        callback.on_train_batch_end(trainer(step), MODULE, {}, batch(), step)
        assert (tmp_path / "samples.png").exists() == (step >= 2)


def test_checkpoints_are_written_in_time_and_at_the_end(tmp_path):
    callback = Checkpoints(str(tmp_path / "checkpoints"), every_n_steps=5)
    seen = []
    for step in range(1, 13):
        state = saving(step)
        callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
        seen.append(int(callback.path.read_text()) if callback.path.exists() else 0)
    assert seen == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 12]
    assert [path.name for path in callback.path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish(tmp_path, number):
    before = signal.getsignal(number)
    callback = Checkpoints(str(tmp_path), every_n_steps=5)
    state = saving(7, should_stop=False)
    callback.on_train_start(state, MODULE)
    signal.raise_signal(number)
    assert not callback.path.exists(), "the step was still running"
    callback.on_train_batch_end(state, MODULE, {}, batch(), 6)
    assert callback.path.read_text() == "7"
    assert state.should_stop
    callback.on_train_end(state, MODULE)
    assert signal.getsignal(number) is before


def test_checkpoints_need_a_period():
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        Checkpoints("folder", 0)
