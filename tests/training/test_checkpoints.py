"""When checkpoints are written, which one is the best, and what a signal does."""

import signal
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from anystar_torch.training import checkpoints
from anystar_torch.training.callbacks import NonFiniteLossError, StopOnNonFinite
from anystar_torch.training.checkpoints import Checkpoints, averaged_weights, best_score
from tests.training.test_callbacks import MODULE, batch, trainer


def saving(step, **more):
    """A trainer whose checkpoint is its step as text."""
    fake = trainer(step, max_steps=12, **more)

    def save(path):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(step))

    fake.save_checkpoint = save
    return fake


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


def validated(callback, step, score=0.2, **more):
    """A validation after ``step``; the trainer is then stopped if it was before."""
    metrics = {"val_ap": torch.tensor(score)}
    callback.on_validation_end(saving(step, callback_metrics=metrics, sanity_checking=False, **more), MODULE)


def test_a_figure_that_is_nan_is_not_the_best(tmp_path):
    callback = Checkpoints(str(tmp_path), every_n_steps=100, monitor="val_ap")
    callback.on_train_start(saving(0), MODULE)
    for step, score in enumerate([float("nan"), 0.3, float("nan")], start=1):
        validated(callback, step, score)
    callback.on_train_end(saving(3), MODULE)
    assert (tmp_path / "best.ckpt").read_text() == "2"
    content = {"callbacks": {"Checkpoints": {"best": float("nan")}}, "state_dict": {}}
    torch.save(content, tmp_path / "best.ckpt")
    assert best_score(tmp_path) is None


@pytest.mark.parametrize(("max_steps", "last"), [(10, 10), (12, 12)])
def test_a_validation_is_over_before_its_step_is_saved(tmp_path, max_steps, last):
    """A kill during the validation of step 10, or of the last step, resumes before it."""
    callback = Checkpoints(str(tmp_path), every_n_steps=5, validate_last=True)
    path = tmp_path / "last.ckpt"
    for step in range(1, max_steps + 1):
        state = saving(step, val_check_batch=10)
        state.max_steps = max_steps
        callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
        if step in (10, last):
            assert int(path.read_text()) < step, "the validation comes first"
            validated(callback, step, should_stop=state.should_stop)
        if step in (10, last):
            assert int(path.read_text()) == step


@pytest.mark.parametrize(
    ("old", "expected"), [(True, [0, 0, 3, 4, 4, 4, 7, 8, 9]), (False, [0, 0, 0, 4, 4, 4, 4, 8, 9])]
)
def test_an_old_checkpoint_is_written_again_one_step_before_a_validation(
    tmp_path, monkeypatch, old, expected
):
    """Validations are after steps 4, 8 and 9, the last one; regular checkpoints after every fourth step."""
    monkeypatch.setattr(checkpoints, "BEFORE_VALIDATION", -1.0 if old else 1000.0)
    callback = Checkpoints(str(tmp_path), every_n_steps=4, validate_last=True)
    path, seen = tmp_path / "last.ckpt", []
    for step in range(1, 10):
        state = saving(step, val_check_batch=4)
        state.max_steps = 9
        callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
        if step in (4, 8, 9):
            validated(callback, step, should_stop=state.should_stop)
        seen.append(int(path.read_text()) if path.exists() else 0)
    assert seen == expected


def test_no_checkpoint_precedes_a_validation_that_does_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "BEFORE_VALIDATION", -1.0)
    callback = Checkpoints(str(tmp_path), every_n_steps=100, validate_last=True)
    for step in (3, 11):
        state = saving(step, val_check_batch=4, limit_val_batches=0)
        callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
    assert not (tmp_path / "last.ckpt").exists()


def test_figures_are_written_with_a_checkpoint(tmp_path):
    """A run that is killed later repeats the steps after it, but not those before it."""
    logger = CSVLogger(tmp_path, name="csv", version="now")
    logger.log_metrics({"loss": 0.5}, step=3)
    callback = Checkpoints(str(tmp_path / "checkpoints"), every_n_steps=5)
    callback.on_train_batch_end(saving(5, loggers=[logger]), MODULE, {}, batch(), 4)
    assert (tmp_path / "csv" / "now" / "metrics.csv").read_text().splitlines() == ["loss,step", "0.5,3"]


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_nothing_that_is_not_finite_is_saved(tmp_path, where):
    """The losses of steps 6 to 10 are copied together, but step 5 is saved before."""
    callback, stop = Checkpoints(str(tmp_path), every_n_steps=5), StopOnNonFinite(every_n_steps=10)
    bad = torch.tensor(float("nan"))
    for step in range(1, 10):
        outputs = {"loss": bad if (where, step) == ("loss", 8) else torch.tensor(1.0)}
        for one in (stop, callback):
            one.on_train_batch_end(
                saving(step, callbacks=[stop, callback]), MODULE, outputs, batch(), step - 1
            )
    module = Mock(spec=L.LightningModule)
    module.parameters.return_value = [torch.ones(2), bad if where == "weights" else torch.ones(1)]
    with pytest.raises(NonFiniteLossError, match=r"step 8|weights after step 10 are not finite"):
        callback.on_train_batch_end(saving(10, callbacks=[stop, callback]), module, {}, batch(), 9)
    assert (tmp_path / "last.ckpt").read_text() == "5"


def test_a_run_that_something_else_stops_is_saved(tmp_path):
    """Such as trainer.max_time, which stops at step 7, and an end after the validation of step 8."""
    callback, last = Checkpoints(str(tmp_path), every_n_steps=5), tmp_path / "last.ckpt"
    callback.on_train_batch_end(saving(7, should_stop=True, limit_val_batches=0), MODULE, {}, batch(), 6)
    assert last.read_text() == "7"
    callback.on_train_batch_end(saving(8, val_check_batch=8), MODULE, {}, batch(), 7)
    validated(callback, 8, should_stop=True)
    assert last.read_text() == "8"


def test_a_signal_during_the_last_validation_is_remembered(tmp_path):
    callback = Checkpoints(str(tmp_path), every_n_steps=5)
    for received in (False, True):
        callback.on_train_start(saving(11), MODULE)
        callback.on_train_batch_end(saving(12, val_check_batch=12), MODULE, {}, batch(), 11)
        if received:
            signal.raise_signal(signal.SIGTERM)
        validated(callback, 12)
        callback.on_train_end(saving(12), MODULE)
        assert callback.stopped is received


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


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [("val_ap", "max", 0.4), ("real_ap", "max", None), ("val_ap", "min", None)],
)
def test_the_best_of_another_figure_is_not_compared(tmp_path, monitor, mode, expected):
    """A run that is resumed with another monitor."""
    first = Checkpoints(str(tmp_path), every_n_steps=100, monitor="val_ap")
    first.best = 0.4
    content = {"callbacks": {"Checkpoints": first.state_dict()}, "state_dict": {}}
    torch.save(content, tmp_path / "best.ckpt")
    callback = Checkpoints(str(tmp_path), every_n_steps=100, monitor=monitor, mode=mode)
    callback.on_train_start(saving(5, ckpt_path=tmp_path / "last.ckpt"), MODULE)
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


def test_the_last_step_is_validated(tmp_path):
    """Lightning validates before it stops. A run that got a signal ends without."""
    for validate_last in (False, True):
        callback = Checkpoints(str(tmp_path), every_n_steps=5, validate_last=validate_last)
        for step in (11, 12):
            state = saving(step, should_stop=False, limit_val_batches=1.0)
            callback.on_train_batch_end(state, MODULE, {}, batch(), step - 1)
            assert state.should_stop is (validate_last and step == 12)
            assert state.limit_val_batches == 1.0
    state = saving(12, should_stop=False, limit_val_batches=1.0)
    callback._received = signal.SIGINT
    callback.on_train_batch_end(state, MODULE, {}, batch(), 11)
    assert state.limit_val_batches == 0


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
