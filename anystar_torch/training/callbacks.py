"""Callbacks around the training step: averaged weights, progress, throughput, sample pictures, checks of the loss."""

import time
from collections import deque
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar, WeightAveraging
from torch import Tensor

from anystar_torch.evaluation import picture
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.training.data import Batch, SynthesisData
from anystar_torch.training.loggers import log_picture
from anystar_torch.training.readback import HostCopy


class Average(WeightAveraging):
    """Exponential moving average of the weights. The averaged weights are validated and exported.

    One pass over the weights per step updates the average; Lightning's EMAWeightAveraging needs three. The average is
    kept on the training device, the number of averaged steps on the host. Lightning keeps that number on the device and
    reads it at every step, so the host waits.

    Args:
        decay: weight of the previous average, in [0, 1). The average covers about 1 / (1 - decay) steps.

    Raises:
        ValueError: the decay is outside [0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.average.decay must be in [0, 1), got {decay}")
        super().__init__()
        self.decay = decay
        self._averaged = 0
        self._trained = False
        self._pairs: list[tuple[list[Tensor], ...]] = []

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the average and the number of averaged steps from a checkpoint."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        self._averaged = int(checkpoint.get("averaging_state", {}).get("n_averaged", 0))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Move the average to the device of the module."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pair the tensors of the average with those of the module: floating point first, then integer counters."""
        assert self._average_model is not None
        self._trained = True
        average, current = _tensors(self._average_model.module), _tensors(pl_module)
        self._pairs = [
            tuple([t for t in tensors if t.is_floating_point() is kind] for tensors in (average, current))
            for kind in (True, False)
        ]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average with the weights of this step. The first update copies them; counters are copied."""
        if trainer.global_step <= self._latest_update_step:
            return
        (averages, weights), (counters, counted) = self._pairs
        if self._averaged:
            torch._foreach_lerp_(averages, weights, 1 - self.decay)
        else:
            torch._foreach_copy_(averages, weights)
        if counters:
            torch._foreach_copy_(counters, counted)
        self._averaged += 1
        self._latest_update_step = trainer.global_step

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the average to the module where a complete run was resumed: Lightning then has no end of a training."""
        if not self._trained:
            self._copy_average_to_current(pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average as the weights of the checkpoint, and the current weights in a second entry."""
        if self._average_model is not None:
            self._average_model.n_averaged.fill_(self._averaged)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    """Parameters and buffers of ``module``, detached."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


class ProgressBar(RichProgressBar):
    """Lightning's progress bar over the steps of the run, without epochs and version number.

    Every validation prints a line with its scores.
    """

    @property
    def total_train_batches(self) -> int | float:
        """Number of steps of the whole run. The bar of a resumed run starts at the resumed step."""
        return self.trainer.max_steps

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Figures to the right of the bar: the loss and the throughput."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the scores of the validation."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        shown = {
            name: f"{float(value):.3f}"
            for name, value in trainer.callback_metrics.items()
            if name == "val_loss" or (name.startswith(("val_f1/", "real_f1/")) and name.count("/") == 1)
        }
        self.print(f"step {trainer.global_step}:", *(f"{name} {value}" for name, value in shown.items()))

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"


class Throughput(Callback):
    """Log samples per second, and the share of the time for which training waited for samples.

    Both are shown in the progress bar. The time of validations is not counted.

    Args:
        every_n_steps: number of steps between two logged figures.

    Raises:
        ValueError: ``every_n_steps`` is below 1.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.throughput.every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._began, self._waited, self._samples = time.perf_counter(), 0.0, 0
        self._validating = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._validating = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Continue the clock."""
        self._began += time.perf_counter() - self._validating

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the samples of the step; log after ``every_n_steps`` steps."""
        self._samples += len(batch.ids) * trainer.world_size
        if trainer.global_step % self.every_n_steps:
            return
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        elapsed, waited = time.perf_counter() - self._began, data.waited_seconds - self._waited
        # Lightning copies numbers to the device and back, but leaves CPU tensors where they are.
        pl_module.log("samples/s", torch.tensor(self._samples / elapsed), prog_bar=True)
        pl_module.log("synthesis %", torch.tensor(100 * waited / elapsed), prog_bar=True)
        self._start(trainer)

    def _start(self, trainer: L.Trainer) -> None:
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        self._began, self._waited, self._samples = time.perf_counter(), data.waited_seconds, 0


class SamplePicture(Callback):
    """Write a picture of the first training samples: image, labels and target probability.

    The picture is also sent to the loggers. A resumed run writes none.

    Args:
        path: file to write.
        samples: number of samples.
    """

    def __init__(self, path: str, samples: int) -> None:
        self.path, self.samples = Path(path), samples
        self._seen: list[list[picture.Panel]] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Decide whether this run writes a picture: rank 0 of a new run does."""
        self._seen = [] if trainer.global_step == 0 and trainer.is_global_zero and self.samples else None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the samples of the batch; write the picture when there are enough."""
        if self._seen is None:
            return
        # The batch is overwritten soon after the step. A copy on the device does not wait for the host.
        volumes = (batch.image.clone(), batch.labels.clone(), batch.probability.clone())
        for image, labels, probability in zip(*volumes, strict=True):
            self._seen.append(
                [
                    picture.Panel("image", image),
                    picture.Panel("labels", image, labels),
                    picture.Panel("probability", probability, limits=(0.0, 1.0)),
                ]
            )
        if len(self._seen) >= self.samples:
            self._write(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the picture of a run that was shorter than ``samples``."""
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if self._seen:
            picture.columns(self._seen[: self.samples], self.path)
            log_picture(trainer.loggers, "first samples", self.path, trainer.global_step)
        self._seen = None


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite. The message names the ids of the samples."""


class StopOnNonFinite(Callback):
    """Stop the run if a loss is not finite, and name the ids of its samples.

    The losses of ``every_n_steps`` steps are copied to the host together. On a GPU they are checked ``every_n_steps``
    steps later, when the copy has finished, so the GPU does not wait for the host. All are checked before a checkpoint.

    Args:
        every_n_steps: number of steps between two copies.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._seen: list[tuple[int, Tensor, Tensor]] = []
        self._copied: deque[tuple[list[int], list[Tensor], HostCopy]] = deque()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the loss of the step; check the losses after ``every_n_steps`` steps."""
        loss: Tensor = outputs["loss"].detach()
        self._seen.append((trainer.global_step, batch.ids.clone(), loss))
        if len(self._seen) >= self.every_n_steps:
            self._copy()
            self._check(trainer, newest=loss.device.type == "cpu")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the losses that are left."""
        self.check(trainer)

    def check(self, trainer: L.Trainer) -> None:
        """Check all losses so far. On a GPU the host waits for the last step.

        Raises:
            NonFiniteLossError: a loss is not finite.
        """
        self._copy()
        self._check(trainer, newest=True)

    def _copy(self) -> None:
        if self._seen:
            steps, ids, losses = zip(*self._seen, strict=True)
            self._copied.append((list(steps), list(ids), HostCopy(torch.stack(losses))))
        self._seen = []

    def _check(self, trainer: L.Trainer, newest: bool) -> None:
        """Raise on every rank if a loss of any rank is not finite: a rank alone would wait for the others."""
        bad: list[tuple[int, Tensor]] = []
        while len(self._copied) > (0 if newest else 1):
            steps, ids, losses = self._copied.popleft()
            finite = losses.value().isfinite().tolist()
            bad += [pair for pair, fine in zip(zip(steps, ids, strict=True), finite, strict=True) if not fine]
        if not trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            return
        if not bad:
            raise NonFiniteLossError("the loss of another rank is not finite; its message names the samples")
        step, of_batch = bad[0]
        numbers = of_batch.tolist()
        made: Synthesizer = trainer.datamodule.synthesizer  # type: ignore[attr-defined]
        size = " ".join(map(str, made.shape))
        raise NonFiniteLossError(
            f"the loss of step {step} is not finite; its batch has the ids {numbers}. Lower training.optimizer.lr, or "
            f"view these samples with: anystar gallery --seed {made.seed} --shape {size} --ids "
            f"{','.join(map(str, numbers))} (--synth and --override where the run's generator is not mix)"
        )
