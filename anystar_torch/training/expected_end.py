"""A line that says when the training will end."""

import time
from datetime import datetime, timedelta
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from anystar_torch.training.budget import WARM_UP


class ExpectedEnd(Callback):
    """Print when the training is expected to end: after its first steps, and after its first validation.

    The estimate is the mean time of the steps so far, with their validations, times the number of steps that are left.

    Args:
        after_steps: number of steps before the first line, more than the first few that are not counted.

    Raises:
        ValueError: the number of steps is too small.
    """

    def __init__(self, after_steps: int) -> None:
        if after_steps <= WARM_UP:
            raise ValueError(f"callbacks.expected_end.after_steps must be above {WARM_UP}, got {after_steps}")
        self.after_steps = after_steps
        self._began, self._started, self._first, self._validations = 0.0, 0, 0, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock. A resumed run counts from its first step."""
        self._began, self._started, self._validations = time.perf_counter(), trainer.global_step, 0
        self._first = self._started

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print the first line. The first steps, which take longer, are not in the estimate."""
        done = trainer.global_step - self._started
        if done == WARM_UP:
            self._began, self._first = time.perf_counter(), trainer.global_step
        if done == self.after_steps:
            self._print(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the second line."""
        self._validations += 1
        if self._validations == 1 and trainer.global_step - self._started > self.after_steps:
            self._print(trainer)

    def _print(self, trainer: L.Trainer) -> None:
        left = trainer.max_steps - trainer.global_step
        if left <= 0 or not trainer.is_global_zero:
            return
        elapsed = time.perf_counter() - self._began
        seconds = elapsed / (trainer.global_step - self._first) * left
        end = datetime.now() + timedelta(seconds=seconds)
        day = "" if end.date() == datetime.now().date() else f"{end:%Y-%m-%d} "
        line = (
            f"step {trainer.global_step}: the training ends at about {day}{end:%H:%M}, in {in_words(seconds)}"
        )
        bar: Any = trainer.progress_bar_callback
        (bar.print if bar is not None else print)(line)


def in_words(seconds: float) -> str:
    """A duration in the unit that suits it: "40 seconds", "12 minutes", "3.5 hours".

    Args:
        seconds: the duration.
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
