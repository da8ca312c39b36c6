"""A budget of minutes: the first steps are measured, and the number of steps is chosen that fits.

The measurement is a short training of its own, whose network and samples are thrown away. A run with ``minutes=10`` is
therefore bit for bit the run with ``trainer.max_steps=N`` for the chosen number N. N is stored in the configuration of
the run, and a resumed run keeps it.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, open_dict

from anystar_torch.system.wording import number_of
from anystar_torch.training.overrides import sets

WARM_UP = 3
"""First steps that are not measured: memory is allocated, and on a GPU algorithms are chosen."""

LEAST = 5
"""Least number of measured steps."""

SHARE, SECONDS = 0.05, 30.0
"""The steps are measured for this share of the budget, and for at most so many seconds."""

FEW = 300
"""Steps below which a network without trained weights finds hardly any objects (docs/training.md)."""

NO_END = 10**9
"""A number of steps that is never reached."""

STEPS, MINUTES = "trainer.max_steps", "minutes"


def fit_steps(config: DictConfig, overrides: Sequence[str]) -> int | None:
    """The number of steps that fits the budget ``minutes`` of a configuration.

    Args:
        config: the composed configuration, with the run folder to resume from.
        overrides: those of the command line. ``trainer.max_steps`` there replaces a budget of the recipe.

    Returns:
        The number of steps; None where the configuration has no budget.

    Raises:
        ValueError: :func:`budget_of` refuses the budget, or the stored configuration of the run to resume is missing.
    """
    minutes = budget_of(config, overrides)
    if minutes is None:
        return None
    if config.resume is not None:
        return stored_steps(config.resume)
    step, validation, spent = measure(config, min(SECONDS, 60 * minutes * SHARE))
    release_memory()
    steps = steps_within(60 * minutes - spent, step, validation, lambda n: validations(with_steps(config, n)))
    say(f"a step takes {step:.3g} s and a validation {validation:.3g} s: {number_of(steps, 'step')}")
    if steps < FEW and config.get("warm_start") is None:
        needed = FEW * step + validations(with_steps(config, FEW)) * validation + spent
        say(
            f"with {number_of(steps, 'step')} a network without trained weights finds hardly any objects; "
            f"{MINUTES}={math.ceil(needed / 60)} gives it {FEW}"
        )
    return steps


def budget_of(config: DictConfig, overrides: Sequence[str]) -> float | None:
    """The budget of a configuration in minutes.

    Args:
        config: the composed configuration.
        overrides: those of the command line. ``trainer.max_steps`` there replaces a budget of the recipe.

    Returns:
        The budget; None where the run has a number of steps.

    Raises:
        ValueError: the budget is not a finite number above zero, or the command line has a number of steps too.
    """
    minutes = config.get(MINUTES)
    if minutes is None:
        return None
    number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
    if not number or not 0 < minutes < math.inf:
        raise ValueError(f"{MINUTES} must be a finite number above 0, got {minutes!r}")
    given = [name for name in (STEPS, MINUTES) if sets(overrides, name)]
    if len(given) == 2:
        raise ValueError(f"a run has a number of steps or a budget; give only one of {STEPS} and {MINUTES}")
    return None if given == [STEPS] else float(minutes)


def validations(config: DictConfig) -> int:
    """The number of validations of a run.

    Args:
        config: the composed configuration.
    """
    steps, interval = config.trainer.max_steps, config.trainer.val_check_interval
    at_end = OmegaConf.select(config, "callbacks.checkpoint.validate_last", default=False)
    return math.ceil(steps / interval) if at_end else int(steps // interval)


def release_memory() -> None:
    """Free what the measured training held, on a GPU too, before the training itself needs it."""
    gc.collect()  # Lightning's objects refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_steps(config: DictConfig, steps: int) -> DictConfig:
    """A copy of ``config`` with a number of steps in place of a budget.

    Args:
        config: a composed configuration.
        steps: number of steps of the run.
    """
    fixed = deepcopy(config)
    fixed.trainer.max_steps = steps
    if MINUTES in fixed:
        fixed[MINUTES] = None
    return fixed


def stored_steps(folder: str) -> int:
    """The number of steps in the stored configuration of a run.

    Args:
        folder: the run folder.

    Raises:
        ValueError: the folder has no stored configuration.
    """
    path = Path(folder, ".hydra", "config.yaml")
    if not path.is_file():
        raise ValueError(f"the number of steps of {folder} is not known: there is no {path}; give {STEPS}")
    return int(OmegaConf.load(path).trainer.max_steps)


def steps_within(seconds: float, step: float, validation: float, count: Callable[[int], int]) -> int:
    """The largest number of steps, to about half a percent, that ends in time with its validations; at least 1.

    Args:
        seconds: time for the training.
        step: seconds of a step.
        validation: seconds of a validation.
        count: number of validations, from the number of steps.
    """
    steps = int(seconds / step)
    while steps > 1 and steps * step + count(steps) * validation > seconds:
        steps -= max(1, steps // 200)
    return max(1, steps)


def measure(config: DictConfig, seconds: float) -> tuple[float, float, float]:
    """Seconds of a training step, of a validation and of this measurement, from a training that is thrown away.

    The training has the network, the samples, the precision and the scores of ``config``, and writes no files. A line
    says that it begins, after network and data are built, which refuses wrong settings.

    Args:
        config: the composed configuration.
        seconds: how long the steps are measured, at least; :data:`LEAST` steps are measured in any case.
    """
    trial = deepcopy(config)
    with open_dict(trial):
        trial.trainer.update(max_steps=NO_END, val_check_interval=NO_END, log_every_n_steps=NO_END)
        trial.training.schedule = OmegaConf.create(
            {"_target_": "anystar_torch.training.budget.constant", "_partial_": True}
        )
        if "scores" in trial.callbacks:
            trial.callbacks.scores.pictures = 0
    L.seed_everything(config.seed, verbose=False)
    watch = Stopwatch(seconds)
    callbacks = [watch, *(instantiate(node) for name, node in trial.callbacks.items() if name == "scores")]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = instantiate(trial.trainer, callbacks=callbacks, **quiet)
    training, data = instantiate(trial.training), instantiate(trial.data)
    data.check_network(training.network)
    say(f"measuring the first steps, to fit the training to {trial.minutes:g} min")
    try:
        trainer.fit(training, datamodule=data)
    except SystemExit as stopped:  # Lightning ends the process after Ctrl-C
        raise KeyboardInterrupt from stopped
    return watch.result(trainer)


class Stopwatch(Callback):
    """Measure steps, stop the training, and measure the validation that Lightning runs before it stops.

    Args:
        seconds: how long the steps are measured, at least.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._made = time.perf_counter()
        self._began = self._ended = self._validating = self.validation = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock after the first steps; stop the training when enough steps are measured."""
        if trainer.global_step < WARM_UP:
            return
        if trainer.global_step == WARM_UP:
            self._began = now(pl_module.device)
        elif trainer.global_step >= WARM_UP + LEAST:
            late = time.perf_counter() - self._began > self.seconds
            if trainer.strategy.reduce_boolean_decision(late, all=False):  # on all ranks after the same step
                self._ended = now(pl_module.device)
                trainer.should_stop = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the first validation samples. On a GPU this captures their CUDA graph, which a run does only once."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        next(iter(data.val_dataloader()), None)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the validation."""
        self._validating = now(pl_module.device)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock of the validation."""
        self.validation = now(pl_module.device) - self._validating

    def result(self, trainer: L.Trainer) -> tuple[float, float, float]:
        """Seconds of a step, of a validation and of all, those of rank 0 on every rank: all choose the same number.

        Args:
            trainer: that was measured.
        """
        step = (self._ended - self._began) / (trainer.global_step - WARM_UP)
        spent = time.perf_counter() - self._made
        agreed: tuple[float, float, float] = trainer.strategy.broadcast((step, self.validation, spent))
        return agreed


def now(device: torch.device) -> float:
    """The time in seconds when ``device`` has done its work.

    Args:
        device: of the training.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def constant(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    """A schedule that leaves the learning rate as it is, for the measurement.

    Args:
        optimizer: the optimiser to schedule.
    """
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


@rank_zero_only
def say(line: str) -> None:
    """Print a line, on rank 0 only.

    Args:
        line: the text.
    """
    print(line, flush=True)
