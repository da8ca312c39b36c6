"""What happens around the training step: saying how it goes and how fast, refusing to train on nonsense."""

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
    """Exponential moving average of the weights: what is validated and exported.

    In one pass over the weights per step; Lightning's EMAWeightAveraging takes three. The average lives on the
    training device, and the number of steps it has seen on the host: Lightning builds both before the module is moved,
    leaves them on the CPU, and copies the weights there at every step.

    Args:
        decay: weight of the average so far, in [0, 1); over about 1 / (1 - decay) steps.

    Raises:
        ValueError: a decay outside of that.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.average.decay must be in [0, 1), got {decay}")
        super().__init__()
        self.decay = decay
        self._averaged = 0
        self._pairs: list[tuple[list[Tensor], ...]] = []

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the average over from the checkpoint, and how many steps it has seen."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        self._averaged = int(checkpoint.get("averaging_state", {}).get("n_averaged", 0))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the average to where the module is by now."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pairs up the tensors: first those with fractions, then the counters."""
        assert self._average_model is not None
        average, current = _tensors(self._average_model.module), _tensors(pl_module)
        self._pairs = [
            tuple([t for t in tensors if t.is_floating_point() is kind] for tensors in (average, current))
            for kind in (True, False)
        ]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the average towards the weights; the first time it becomes them. Counters are copied."""
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

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the average in the place of the weights, and the weights beside it."""
        if self._average_model is not None:
            self._average_model.n_averaged.fill_(self._averaged)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    """Parameters and buffers, without their gradients' history."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


class ProgressBar(RichProgressBar):
    """Lightning's bar over the steps of the run: no epochs here, and no version number among the figures.

    Above it a line for every validation.
    """

    @property
    def total_train_batches(self) -> int | float:
        """Steps of the whole run, also of a resumed one, whose bar goes on where it was."""
        return self.trainer.max_steps

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar: the loss and the speed."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says what the validation found."""
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
    """Logs samples per second and the share of the time spent on waiting for synthesis, both into the progress bar.

    Validation does not count.

    Args:
        every_n_steps: steps between two figures.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._began, self._waited, self._samples = time.perf_counter(), 0.0, 0
        self._validating = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._start(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops the clock."""
        self._validating = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lets the clock go on."""
        self._began += time.perf_counter() - self._validating

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Counts the step; logs when ``every_n_steps`` are full."""
        self._samples += len(batch.ids) * trainer.world_size
        if trainer.global_step % self.every_n_steps:
            return
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        elapsed, waited = time.perf_counter() - self._began, data.waited_seconds - self._waited
        # As tensors on the CPU: Lightning would copy numbers to the device and back.
        pl_module.log("samples/s", torch.tensor(self._samples / elapsed), prog_bar=True)
        pl_module.log("synthesis %", torch.tensor(100 * waited / elapsed), prog_bar=True)
        self._start(trainer)

    def _start(self, trainer: L.Trainer) -> None:
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        self._began, self._waited, self._samples = time.perf_counter(), data.waited_seconds, 0


class SamplePicture(Callback):
    """A picture of the first training samples, so that anyone can see what the network learns from.

    Image, labels and the probability it is to predict, in a file and in the loggers. A resumed run makes none.

    Args:
        path: where it goes.
        samples: how many samples, from the first.
    """

    def __init__(self, path: str, samples: int) -> None:
        self.path, self.samples = Path(path), samples
        self._seen: list[list[picture.Panel]] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks whether this is the beginning."""
        self._seen = [] if trainer.global_step == 0 and trainer.is_global_zero and self.samples else None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Gathers the batch; writes when enough are there."""
        if self._seen is None:
            return
        # The batch is overwritten soon; a copy on the device waits for nothing.
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
        """Writes what a very short run has seen."""
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if self._seen:
            picture.columns(self._seen[: self.samples], self.path)
            log_picture(trainer.loggers, "first samples", self.path, trainer.global_step)
        self._seen = None


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite; the message names the samples that made it."""


class StopOnNonFinite(Callback):
    """Stops a run whose loss is not finite and names the ids of the batch, so that anyone can make it again.

    The losses of ``every_n_steps`` are copied to the host together. On a GPU they are looked at ``every_n_steps``
    later, when the copy has long been made, so that the GPU does not wait for the host.

    Args:
        every_n_steps: steps between two copies.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._seen: list[tuple[int, Tensor, Tensor]] = []
        self._copied: deque[tuple[list[int], list[Tensor], HostCopy]] = deque()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Remembers the loss; looks when ``every_n_steps`` have gathered."""
        loss: Tensor = outputs["loss"].detach()
        self._seen.append((trainer.global_step, batch.ids.clone(), loss))
        if len(self._seen) >= self.every_n_steps:
            self._copy()
            self._look(trainer, newest=loss.device.type == "cpu")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at what is left."""
        self._copy()
        self._look(trainer, newest=True)

    def _copy(self) -> None:
        if self._seen:
            steps, ids, losses = zip(*self._seen, strict=True)
            self._copied.append((list(steps), list(ids), HostCopy(torch.stack(losses))))
        self._seen = []

    def _look(self, trainer: L.Trainer, newest: bool) -> None:
        """All ranks stop together, or the others would wait for ever for the one that found something."""
        bad: list[tuple[int, Tensor]] = []
        while len(self._copied) > (0 if newest else 1):
            steps, ids, losses = self._copied.popleft()
            finite = losses.value().isfinite().tolist()
            bad += [pair for pair, fine in zip(zip(steps, ids, strict=True), finite, strict=True) if not fine]
        if not trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            return
        if not bad:
            raise NonFiniteLossError("the loss of another rank is not finite; it says which samples made it")
        step, of_batch = bad[0]
        numbers = of_batch.tolist()
        made: Synthesizer = trainer.datamodule.synthesizer  # type: ignore[attr-defined]
        size = " ".join(map(str, made.shape))
        raise NonFiniteLossError(
            f"the loss of step {step} is not finite; its batch has the ids {numbers}. Lower training.optimizer.lr, or "
            f"look at these samples with: anystar gallery --seed {made.seed} --shape {size} --ids "
            f"{','.join(map(str, numbers))} (--synth and --override where the run's generator is not mix)"
        )
