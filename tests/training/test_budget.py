"""A run with a budget of minutes is the run with the number of steps that it chose; resumed, it keeps that number."""

import time
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from anystar_torch.training import budget
from anystar_torch.training.budget import Stopwatch, fit_steps, steps_within, validations, with_steps
from anystar_torch.training.expected_end import ExpectedEnd, in_words
from tests.training.processes import Training
from tests.training.runs import TINY, assert_same_weights, losses
from tests.training.test_callbacks import trainer as fake_trainer

FREE = [word for word in TINY if not word.startswith("trainer.max_steps=")]


def config(**values):
    whole = {"minutes": 10, "resume": None, "trainer": {"max_steps": 1000}, "half": "${trainer.max_steps}"}
    return OmegaConf.create(whole | values)


@pytest.mark.parametrize("share", [1.0, 0.25, 0.1, None])
@pytest.mark.parametrize(
    ("seconds", "step", "validation"), [(600.0, 2.5, 20.0), (60.0, 0.13, 4.0), (600.0, 0.13, 0.0)]
)
def test_the_largest_number_that_ends_in_time(seconds, step, validation, share):
    """Compared with a search over all numbers."""

    def count(steps):
        return steps // (250 if share is None else max(1, round(steps * share)))

    def needed(steps):
        return steps * step + count(steps) * validation

    found = steps_within(seconds, step, validation, count)
    largest = max(n for n in range(1, int(seconds / step) + 2) if needed(n) <= seconds)
    assert needed(found) <= seconds
    assert 0.99 * largest - 1 <= found <= largest


def test_a_budget_below_one_step_is_one_step():
    assert steps_within(0.5, 3.0, 1.0, lambda steps: 1) == 1
    assert steps_within(-5.0, 3.0, 1.0, lambda steps: 1) == 1


@pytest.mark.long
def test_which_setting_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(budget, "measure", lambda config, seconds: (2.0, 0.0, 0.5))
    monkeypatch.setattr(budget, "with_steps", lambda config, steps: config)
    fitting = config(trainer={"max_steps": 1000, "val_check_interval": 100})
    assert fit_steps(config(minutes=None), ["trainer.max_steps=5"]) is None
    assert 298 <= fit_steps(fitting, ["minutes=10"]) <= 300
    assert 298 <= fit_steps(fitting, []) <= 300, "the budget of a recipe"
    for prefix in ("", "+", "++"):
        given = [f"{prefix}trainer.max_steps=5"]
        assert fit_steps(fitting, given) is None, "the command line counts more than a recipe"
        with pytest.raises(ValueError, match=r"only one of trainer\.max_steps and minutes"):
            fit_steps(fitting, [*given, f"{prefix}minutes=10"])
    for minutes in (0, -3):
        with pytest.raises(ValueError, match=f"above 0, got {minutes}"):
            fit_steps(config(minutes=minutes), [])
    with pytest.raises(ValueError, match=r"there is no .*config\.yaml; give trainer\.max_steps"):
        fit_steps(config(resume=str(tmp_path)), [])


@pytest.mark.parametrize(
    ("start", "step", "minutes"), [(None, 10.0, 55), (None, 1.0, None), ("model", 10.0, None)]
)
def test_too_few_steps_for_an_untrained_network_are_said_with_the_minutes_they_take(
    monkeypatch, capsys, start, step, minutes
):
    """300 steps of 10 s, 4 validations of 60 s and 20 s of measuring: 3260 s, 54.3 minutes."""
    monkeypatch.setattr(budget, "measure", lambda config, seconds: (step, 60.0, 20.0))
    fit_steps(config(trainer={"max_steps": 1000, "val_check_interval": 75}, warm_start=start), [])
    said = capsys.readouterr().out
    assert ("hardly any objects" in said) == (minutes is not None)
    assert minutes is None or f"minutes={minutes} gives it 300" in said


@pytest.mark.parametrize("minutes", ["10m", "", float("inf"), float("nan"), -float("inf"), True, [10]])
def test_a_budget_that_is_no_finite_number_is_refused(minutes):
    with pytest.raises(ValueError, match=r"^minutes must be a finite number above 0, got .*$"):
        fit_steps(config(minutes=minutes), [])


@pytest.mark.parametrize(("steps", "interval", "inside"), [(300, 60, 5), (298, 60, 4), (3, 10, 0)])
def test_validations_are_counted_with_the_one_after_the_last_step(steps, interval, inside):
    trainer = {"max_steps": steps, "val_check_interval": interval}
    assert validations(config(trainer=trainer)) == inside
    for last, expected in ((False, inside), (True, inside + (steps % interval > 0))):
        callbacks = {"checkpoint": {"validate_last": last}}
        assert validations(config(trainer=trainer, callbacks=callbacks)) == expected


def test_what_depends_on_the_number_of_steps_follows():
    fixed = with_steps(config(), 77)
    assert (fixed.trainer.max_steps, fixed.half, fixed.minutes) == (77, 77, None)


def test_steps_are_measured_after_the_first_ones():
    """Against the sleeps of the steps: the first three are ten times longer."""
    watch = Stopwatch(seconds=0.2)
    trainer = fake_trainer(0, should_stop=False)
    module = Mock(spec=L.LightningModule, device=torch.device("cpu"))
    while not trainer.should_stop:
        time.sleep(0.2 if trainer.global_step < budget.WARM_UP else 0.02)
        trainer.global_step += 1
        watch.on_train_batch_end(trainer, module, None, None, 0)
    step = watch.result(trainer)[0]
    assert 0.02 <= step < 0.1
    assert trainer.global_step >= budget.WARM_UP + budget.LEAST


def test_every_rank_has_the_times_of_rank_0():
    """Ranks with other numbers of steps would wait for each other for ever."""
    strategy = SimpleNamespace(broadcast=lambda times: (2.0, 3.0, 4.0))
    assert Stopwatch(0.1).result(fake_trainer(9, strategy=strategy)) == (2.0, 3.0, 4.0)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "run"
    code, output = Training.forked(folder.parent, [*FREE, "minutes=0.05", f"run_folder={folder}"]).ended()
    assert code == 0, output
    stored = OmegaConf.load(folder / ".hydra" / "config.yaml")
    return folder, output, stored


@pytest.mark.long
def test_the_chosen_number_is_said_and_stored(fitted):
    folder, output, stored = fitted
    assert f"s: {stored.trainer.max_steps} steps" in output
    assert stored.minutes is None
    assert max(losses(folder)) == stored.trainer.max_steps - 1


@pytest.mark.long
def test_the_run_is_the_one_with_that_number_of_steps(fitted, tmp_path):
    folder, _, stored = fitted
    words = [*FREE, f"trainer.max_steps={stored.trainer.max_steps}", f"run_folder={tmp_path / 'run'}"]
    code, output = Training.forked(tmp_path, words).ended()
    assert code == 0, output
    assert losses(tmp_path / "run") == losses(folder)
    assert_same_weights(tmp_path / "run", folder)


@pytest.mark.long
def test_a_resumed_run_keeps_its_number(fitted):
    folder, _, stored = fitted
    code, output = Training.forked(folder.parent, [*FREE, "minutes=5", f"resume={folder}"]).ended()
    assert code == 0, output
    assert "measuring" not in output
    again = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert again.trainer.max_steps == stored.trainer.max_steps


@pytest.mark.long
def test_the_expected_end_is_that_of_the_mean_step(capsys):
    """Twenty steps of 20 ms leave 980: about 20 seconds."""
    callback = ExpectedEnd(after_steps=20)
    trainer = fake_trainer(0, max_steps=1000, progress_bar_callback=None)
    module = Mock(spec=L.LightningModule)
    callback.on_train_start(trainer, module)
    for _ in range(20):
        time.sleep(0.5 if trainer.global_step < budget.WARM_UP else 0.02)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, None, 0)
    line = capsys.readouterr().out.strip()
    assert line.startswith("step 20: the training ends at about ")
    assert 19 <= float(line.split(", in ")[1].split()[0]) <= 60


@pytest.mark.parametrize(
    ("seconds", "words"), [(40.4, "40 seconds"), (700.0, "12 minutes"), (12600.0, "3.5 hours")]
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words
