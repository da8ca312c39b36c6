"""Checkpoints that a kill cannot spoil, and a run that stops well."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from anystar_torch.training.data import Batch
from anystar_torch.training.resuming import read_checkpoint

LAST, BEST = "last.ckpt", "best.ckpt"


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` every so many steps and at the end, ``best.ckpt`` when validation was better than ever.

    A signal (Ctrl-C, SIGTERM) to any rank lets the step finish, writes a checkpoint and ends the run; a second one ends
    it at once. Lightning's own ModelCheckpoint writes in place, so that a kill at the wrong moment leaves half a file,
    and its exception hook saves in the middle of a step, a state the run never was in: hence a callback of our own.
    Being a Checkpoint, Lightning calls it after whatever changes the state (weight averaging).

    Args:
        folder: where the checkpoints go.
        every_n_steps: steps between two of ``last.ckpt``.
        monitor: the logged figure of a validation that says which is best; None for no ``best.ckpt``.
        mode: "max" or "min": whether a large or a small figure is good.
        signal_every_n_steps: steps between two agreements of several GPUs on whether one of them got a signal. Each is
            an exchange that the host waits for. One GPU, and CPUs, look at every step.

    Raises:
        ValueError: ``every_n_steps`` below 1, or another mode.
    """

    def __init__(
        self,
        folder: str,
        every_n_steps: int,
        monitor: str | None = None,
        mode: str = "max",
        signal_every_n_steps: int = 10,
    ) -> None:
        for name, steps in (("every_n_steps", every_n_steps), ("signal_every_n_steps", signal_every_n_steps)):
            if steps < 1:
                raise ValueError(f"callbacks.checkpoint.{name} must be at least 1, got {steps}")
        if mode not in ("max", "min"):
            raise ValueError(f"callbacks.checkpoint.mode must be max or min, got {mode!r}")
        self.folder, self.every_n_steps, self.monitor, self.mode = Path(folder), every_n_steps, monitor, mode
        self.signal_every_n_steps = signal_every_n_steps
        self.best: float | None = None
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes both signals over, Lightning's own handler for SIGTERM included; a resumed run knows its best."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        # Lightning (2.6) lets its ranks agree at every step whether its own handler got a SIGTERM, which now never
        # happens; the host waits for that exchange.
        loop: Any = getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None)
        if hasattr(loop, "_broadcast_sigterm_tensor"):
            loop._broadcast_sigterm_tensor = lambda: None
        resumed = trainer.is_global_zero and trainer.ckpt_path is not None
        self.best = trainer.strategy.broadcast(best_score(self.folder) if resumed else None)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Writes when it is time, when the run is over, or when a signal came during the step."""
        stopping = self._agree_to_stop(trainer)
        done = trainer.global_step == trainer.max_steps
        if stopping or done or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer, LAST)
        if stopping:
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # or Lightning would validate before it stops

    def _agree_to_stop(self, trainer: L.Trainer) -> bool:
        """Whether any rank got a signal; all ranks ask at the same steps."""
        several = trainer.world_size > 1 and trainer.strategy.root_device.type != "cpu"
        if several and trainer.global_step % self.signal_every_n_steps:
            return False
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes ``best.ckpt`` if the monitored figure is better than any before.

        Raises:
            ValueError: nothing of that name was logged.
        """
        if self.monitor is None or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            there = ", ".join(sorted(name for name in trainer.callback_metrics if name[:3] in ("val", "rea")))
            raise ValueError(f"callbacks.checkpoint.monitor={self.monitor} is not logged; there are {there}")
        score = float(trainer.callback_metrics[self.monitor])
        better = self.best is None or (score > self.best if self.mode == "max" else score < self.best)
        if better:
            self.best = score
            self._save(trainer, BEST)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gives the signals back."""
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._restore()

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far: what :func:`best_score` finds in ``best.ckpt``."""
        return {"best": self.best}

    def _save(self, trainer: L.Trainer, name: str) -> None:
        path = self.folder / name
        partial = path.with_suffix(".partial")
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


def last_checkpoint(run_folder: str | None) -> Path | None:
    """The newest checkpoint of a run folder; None for a new run.

    Raises:
        ValueError: the folder has none.
    """
    if run_folder is None:
        return None
    path = Path(run_folder, "checkpoints", LAST)
    if not path.is_file():
        raise ValueError(f"cannot resume {run_folder}: there is no {path}")
    return path


def best_score(folder: Path) -> float | None:
    """The figure that made ``best.ckpt`` the best; None if there is none. Its tensors are not read."""
    path = folder / BEST
    if not path.is_file():
        return None
    content = read_checkpoint(path)
    score = content["callbacks"][Checkpoints.__qualname__]["best"]
    return None if score is None else float(score)


def averaged_weights(path: Path, prefix: str = "network.") -> dict[str, torch.Tensor]:
    """The network's weights in a checkpoint: the averaged ones, if the run averages them."""
    content = read_checkpoint(path)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
