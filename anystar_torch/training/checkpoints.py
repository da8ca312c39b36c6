"""Write checkpoints atomically, and stop a run at a signal."""

import math
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from anystar_torch.training.callbacks import NonFiniteLossError, StopOnNonFinite
from anystar_torch.training.data import Batch
from anystar_torch.training.readback import HostCopy
from anystar_torch.training.resuming import read_checkpoint

LAST, BEST = "last.ckpt", "best.ckpt"

BEFORE_VALIDATION = 60.0
"""Seconds since the last write of :data:`LAST` from which it is written one step before a validation."""


class Checkpoints(Checkpoint):
    """Write ``last.ckpt`` at regular steps and at the end, and ``best.ckpt`` after the best validation.

    Where a validation follows the step, ``last.ckpt`` is written after it, so a run that is killed meanwhile repeats
    the validation when it is resumed. A file that is older than :data:`BEFORE_VALIDATION` is written again one step
    before a validation, so such a run repeats few steps. Before every write of ``last.ckpt`` the weights must be
    finite, :class:`~anystar_torch.training.callbacks.StopOnNonFinite` checks the losses so far, and the loggers write
    their figures, which a run that is killed would lose.

    After a signal (Ctrl-C, SIGTERM) to any rank the run finishes its step, writes a checkpoint and ends. A second
    signal ends it at once. A run that is stopped otherwise (``trainer.max_time``) writes a checkpoint too.

    Two reasons against Lightning's ModelCheckpoint. Its exception hook saves in the middle of a step, which is no state
    to resume from. It writes to the system's temporary folder and moves the file (Lightning 2.6); between file systems
    such a move is a copy, and a kill leaves a part of it. Here the temporary file is in the folder of the checkpoints.

    Lightning calls a Checkpoint after all other callbacks, so the weight average of a step is complete.

    Args:
        folder: folder of the checkpoints.
        every_n_steps: number of steps between two writes of ``last.ckpt``.
        monitor: logged figure of a validation that determines ``best.ckpt``; None for no ``best.ckpt``.
        mode: "max" if a large figure is good, "min" if a small one is.
        signal_every_n_steps: number of steps between two checks whether any of several GPUs got a signal. The host
            waits for each check. One GPU and CPUs check at every step.
        validate_last: whether the last step is validated as well where ``trainer.val_check_interval`` does not divide
            the number of steps. Without it, ``best.ckpt`` cannot be the last state of such a run.

    Attributes:
        stopped: after the training, whether any rank got a signal, at the latest in the last validation.

    Raises:
        ValueError: a number of steps is below 1, or the mode is unknown.
    """

    def __init__(
        self,
        folder: str,
        every_n_steps: int,
        monitor: str | None = None,
        mode: str = "max",
        signal_every_n_steps: int = 10,
        validate_last: bool = False,
    ) -> None:
        for name, steps in (("every_n_steps", every_n_steps), ("signal_every_n_steps", signal_every_n_steps)):
            if steps < 1:
                raise ValueError(f"callbacks.checkpoint.{name} must be at least 1, got {steps}")
        if mode not in ("max", "min"):
            raise ValueError(f"callbacks.checkpoint.mode must be max or min, got {mode!r}")
        self.folder, self.every_n_steps, self.monitor, self.mode = Path(folder), every_n_steps, monitor, mode
        self.signal_every_n_steps, self.validate_last = signal_every_n_steps, validate_last
        self.best: float | None = None
        self.stopped = False
        self._waiting = False
        self._saved = time.perf_counter()
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the signal handlers, in place of Lightning's. A resumed run reads its best figure."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        # At every step Lightning (2.6) asks all ranks whether its own handler got a SIGTERM, and the host waits for the
        # answer. That handler is not installed any more, so the question is left out.
        loop: Any = getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None)
        if hasattr(loop, "_broadcast_sigterm_tensor"):
            loop._broadcast_sigterm_tensor = lambda: None
        resumed = trainer.is_global_zero and trainer.ckpt_path is not None
        known = best_score(self.folder, self.monitor, self.mode) if resumed else None
        self.best = trainer.strategy.broadcast(known)
        self._saved = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` if it is due, if the run ends, or if a signal came during the step."""
        stopping = self._agree_to_stop(trainer)
        done = trainer.global_step == trainer.max_steps
        if stopping:
            trainer.limit_val_batches = 0  # otherwise Lightning validates before it stops
        # Lightning ends at the last step without a validation, but validates before it stops.
        if stopping or (done and self.validate_last):
            trainer.should_stop = True
        regular = trainer.global_step % self.every_n_steps == 0
        due = done or trainer.should_stop or regular or self._old_before_validation(trainer)
        self._waiting = due and _validates(trainer)
        if due and not self._waiting:
            self._save_last(trainer, pl_module)

    def _agree_to_stop(self, trainer: L.Trainer) -> bool:
        """Whether any rank got a signal. All ranks ask at the same steps."""
        several = trainer.world_size > 1 and trainer.strategy.root_device.type != "cpu"
        if several and trainer.global_step % self.signal_every_n_steps:
            return False
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def _old_before_validation(self, trainer: L.Trainer) -> bool:
        """Whether the next step is validated, and ``last.ckpt`` is old on any rank."""
        step = trainer.global_step + 1
        last = self.validate_last and step == trainer.max_steps and bool(trainer.limit_val_batches)
        if not (last or _regularly_validated(trainer, step)):
            return False
        old = time.perf_counter() - self._saved > BEFORE_VALIDATION
        return trainer.strategy.reduce_boolean_decision(old, all=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write ``best.ckpt`` if the monitored figure is better than all earlier ones, and ``last.ckpt`` if it is due.

        A figure that is NaN is never the best.

        Raises:
            ValueError: no figure of that name was logged.
        """
        if trainer.sanity_checking:
            return
        if self.monitor is not None:
            self._keep_best(trainer, self.monitor)
        if self._waiting or trainer.should_stop:
            self._waiting = False
            self._save_last(trainer, pl_module)

    def _keep_best(self, trainer: L.Trainer, monitor: str) -> None:
        if monitor not in trainer.callback_metrics:
            logged = ", ".join(
                sorted(name for name in trainer.callback_metrics if name[:3] in ("val", "rea"))
            )
            raise ValueError(
                f"callbacks.checkpoint.monitor={monitor} is not logged; logged figures: {logged}"
            )
        score = float(trainer.callback_metrics[monitor])
        if math.isnan(score):
            return
        better = self.best is None or (score > self.best if self.mode == "max" else score < self.best)
        if better:
            self.best = score
            self._save(trainer, BEST)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore the previous signal handlers, after all ranks know whether one of them got a signal."""
        self.stopped = trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Restore the previous signal handlers."""
        self._restore()

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far, and which one it is. :func:`best_score` reads it from ``best.ckpt``."""
        return {"best": self.best, "monitor": self.monitor, "mode": self.mode}

    def _save_last(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StopOnNonFinite):
                callback.check(trainer)
        if not trainer.strategy.reduce_boolean_decision(_finite(pl_module), all=True):
            raise NonFiniteLossError(
                f"the weights after step {trainer.global_step} are not finite, and are not saved; lower "
                "training.optimizer.lr"
            )
        for logger in trainer.loggers:
            logger.save()
        self._save(trainer, LAST)
        self._saved = time.perf_counter()

    def _save(self, trainer: L.Trainer, name: str) -> None:
        path = self.folder / name
        partial = path.with_suffix(".partial")  # on the same file system, so that os.replace is atomic
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, path)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        for taken in self._previous:
            signal.signal(taken, signal.SIG_DFL)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def _finite(module: torch.nn.Module) -> bool:
    """Whether all weights are finite. The host waits once."""
    each = [weight.isfinite().all() for weight in module.parameters()]
    return not each or bool(HostCopy(torch.stack(each)).value().all())


def _validates(trainer: L.Trainer) -> bool:
    """Whether Lightning validates after this step."""
    if trainer.should_stop:
        return bool(trainer.limit_val_batches)
    return _regularly_validated(trainer, trainer.global_step)


def _regularly_validated(trainer: L.Trainer, step: int) -> bool:
    """Whether a validation of the regular interval follows a step."""
    interval = trainer.val_check_batch  # None if validations follow from the time
    return bool(trainer.limit_val_batches) and interval is not None and step % interval == 0


def last_checkpoint(run_folder: str | None) -> Path | None:
    """Path of the last checkpoint of a run folder; None for a new run.

    Args:
        run_folder: the folder to resume from; None for a new run.

    Raises:
        ValueError: the folder has no checkpoint.
    """
    if run_folder is None:
        return None
    path = Path(run_folder, "checkpoints", LAST)
    if not path.is_file():
        raise ValueError(f"cannot resume {run_folder}: there is no {path}")
    return path


def best_score(folder: Path, monitor: str | None = None, mode: str = "max") -> float | None:
    """The monitored figure of ``best.ckpt`` in ``folder``; None if there is none, or NaN. Tensors are not read.

    Args:
        folder: the folder of checkpoints of a run.
        monitor: the figure that the run monitors. Another one in the file is not compared with it, and not returned.
            None for any.
        mode: "max" or "min", as for :class:`Checkpoints`.
    """
    path = folder / BEST
    if not path.is_file():
        return None
    content = read_checkpoint(path)
    stored = content["callbacks"][Checkpoints.__qualname__]
    of = stored.get("monitor", monitor), stored.get("mode", mode)  # earlier versions stored the figure alone
    score = stored["best"] if monitor is None or of == (monitor, mode) else None
    return None if score is None or math.isnan(score) else float(score)


def averaged_weights(path: Path, prefix: str = "network.") -> dict[str, torch.Tensor]:
    """Weights of the network in a checkpoint: the averaged ones if the run averages them.

    Args:
        path: the checkpoint.
        prefix: of the network's entries in the checkpoint.

    Returns:
        Name -> tensor, for ``load_state_dict`` of the network.
    """
    content = read_checkpoint(path)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
