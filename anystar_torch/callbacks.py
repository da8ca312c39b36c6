"""What happens around the training step: stopping well, saying how fast it goes, refusing to train on nonsense."""

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import Tensor

from anystar_torch import picture
from anystar_torch.data import Batch, SynthesisData

LAST = "last.ckpt"


class Checkpoints(Callback):
    """Writes ``last.ckpt`` every ``every_n_steps`` steps and at the end; stops well on Ctrl-C and SIGTERM.

    A signal lets the step finish, writes a checkpoint and ends the run; a second one ends it at once. Lightning's own
    ModelCheckpoint writes in place, so that a kill at the wrong moment leaves half a file, and its exception hook saves
    in the middle of a step, a state the run never was in: hence a callback of our own. It must stand after whatever
    changes the state (weight averaging).

    Args:
        folder: where ``last.ckpt`` goes.
        every_n_steps: steps between two checkpoints.

    Raises:
        ValueError: ``every_n_steps`` below 1.
    """

    def __init__(self, folder: str, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.checkpoint.every_n_steps must be at least 1, got {every_n_steps}")
        self.path, self.every_n_steps = Path(folder, LAST), every_n_steps
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes both signals over, Lightning's own handler for SIGTERM included."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Writes when it is time, when the run is over, or when a signal came during the step."""
        stopping = self._received is not None
        done = trainer.global_step == trainer.max_steps
        if stopping or done or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)
        if stopping:
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gives the signals back."""
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._restore()

    def _save(self, trainer: L.Trainer) -> None:
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.path)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        for taken in self._previous:
            signal.signal(taken, signal.SIG_DFL)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


class ProgressBar(RichProgressBar):
    """Lightning's bar over the steps of the run: no epochs here, and no version number among the figures."""

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar: the loss and the speed."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"


class Throughput(Callback):
    """Logs samples per second and the share of the time spent on waiting for synthesis, both into the progress bar.

    Args:
        every_n_steps: steps between two figures.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._began, self._synthesis, self._samples = time.perf_counter(), 0.0, 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Counts the step; logs when ``every_n_steps`` are full."""
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        self._synthesis += data.synthesis_seconds
        self._samples += len(batch.ids) * trainer.world_size
        if trainer.global_step % self.every_n_steps:
            return
        elapsed = time.perf_counter() - self._began
        pl_module.log("samples/s", self._samples / elapsed, prog_bar=True)
        pl_module.log("synthesis %", 100 * self._synthesis / elapsed, prog_bar=True)
        self._began, self._synthesis, self._samples = time.perf_counter(), 0.0, 0


class SamplePicture(Callback):
    """Writes a picture of the first training batches, so that anyone can see what the network learns from.

    Args:
        path: where it goes.
        batches: how many batches, from the first.
    """

    def __init__(self, path: str, batches: int) -> None:
        self.path, self.batches = Path(path), batches
        self._pairs: list[tuple[Any, Any]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Gathers the batch; writes when enough are there."""
        if trainer.global_step > self.batches or not trainer.is_global_zero:
            return
        self._pairs += [
            (image[0], labels[0]) for image, labels in zip(batch.image, batch.labels, strict=True)
        ]
        if trainer.global_step == self.batches:
            picture.gallery(self._pairs, self.path)
            self._pairs = []


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite; the message names the samples that made it."""


class StopOnNonFinite(Callback):
    """Stops a run whose loss is not finite and names the ids of the batch, so that anyone can make it again.

    The losses stay on their device and are read together, so that a GPU need not wait for the host at every step.

    Args:
        every_n_steps: steps between two looks.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._seen: list[tuple[int, Tensor, Tensor]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Remembers the loss; looks when ``every_n_steps`` have gathered."""
        self._seen.append((trainer.global_step, batch.ids, outputs["loss"]))
        if len(self._seen) >= self.every_n_steps:
            self._look()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at what is left."""
        self._look()

    def _look(self) -> None:
        seen, self._seen = self._seen, []
        if not seen:
            return
        finite = torch.stack([loss.detach() for _, _, loss in seen]).isfinite().tolist()
        for (step, ids, _), fine in zip(seen, finite, strict=True):
            if not fine:
                raise NonFiniteLossError(
                    f"the loss of step {step} is not finite; its batch has the ids {ids.tolist()}. "
                    "Lower optimizer.lr, or look at these samples with: anystar gallery --ids"
                )
