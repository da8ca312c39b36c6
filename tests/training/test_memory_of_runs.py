"""What a job of a sweep, a stage or a failed training held is free before the next one begins."""

import gc
import weakref
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from anystar_torch.training import main
from anystar_torch.training.callbacks import NonFiniteLossError
from anystar_torch.training.runs import Run

JOBS = ["-m", "seed=1,2"]
STAGES = ["stages=[['seed=1'],['seed=2']]"]


class Held:
    """What a run holds: in a training the network, its samples and their CUDA graph."""


def a_run(held):
    """Looks like a run. As in Lightning, its objects refer to each other."""
    figures = {"val_ap": torch.tensor(0.5)}
    trainer = SimpleNamespace(
        callback_metrics=figures, loggers=[], max_steps=2, global_step=2, strategy=Mock(), held=held
    )
    trainer.training = SimpleNamespace(trainer=trainer)
    return Run(trainer, trainer.training, Mock(), None, lambda *run: 0)


def ended(run):
    return False


def not_finite(run):
    raise NonFiniteLossError("the loss of step 2 is not finite")


def out_of_memory(run):
    raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize(
    ("words", "fit", "status"),
    [(JOBS, not_finite, 1), (JOBS, out_of_memory, 1), (STAGES, ended, 0)],
)
def test_a_run_begins_after_the_memory_of_the_last_one_is_free(tmp_path, monkeypatch, words, fit, status):
    held, alive = [], []

    def prepared(stage):
        alive.append(sum(reference() is not None for reference in held))
        one = Held()
        held.append(weakref.ref(one))
        return a_run(one)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "check_settings", lambda stages: None)
    monkeypatch.setattr(main, "_prepared", prepared)
    monkeypatch.setattr(main, "_fit", fit)
    gc.disable()  # only what is asked for is collected
    try:
        main.main(["+experiment=plain", "hardware=laptop", *words])
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        gc.enable()
    assert code == status
    assert alive == [0, 0]


def test_a_failed_training_frees_the_samples_of_its_device():
    """Lightning does not tear down the data after an error."""
    data = Mock()
    run = Run(Mock(**{"fit.side_effect": NonFiniteLossError("no")}), None, data, None, None)
    with pytest.raises(NonFiniteLossError):
        main._fit(run)
    data.teardown.assert_called_once_with("fit")


def test_a_run_without_checkpoints_has_no_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_prepared", lambda stage: a_run(None))
    monkeypatch.setattr(main, "_fit", ended)
    main.main(["+experiment=plain", "hardware=laptop", "~callbacks.checkpoint"])
