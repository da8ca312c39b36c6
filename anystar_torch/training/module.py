"""The training step, and nothing else: Lightning runs it, Hydra fills it in."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anystar_torch.network import loading
from anystar_torch.network.loss import Losses, StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.training.data import Batch
from anystar_torch.training.readback import HostCopy
from anystar_torch.training.resuming import ARCHITECTURE, differences, flat


def linear_decay(
    optimizer: Optimizer, *, total_steps: int, decay_steps: int, warmup_steps: int = 0
) -> LambdaLR:
    """Learning rate that rises for ``warmup_steps`` and falls linearly to zero over the last ``decay_steps``.

    AnyStar's paper decays linearly over the whole run (its code does not: ``train_reduce_lr=None``): ``decay_steps``
    equal to ``total_steps`` is the paper's.

    Raises:
        ValueError: a run or a decay without steps.
    """
    if total_steps < 1 or decay_steps < 1:
        raise ValueError(
            f"total_steps and decay_steps must be at least 1, got {total_steps} and {decay_steps}"
        )

    def factor(step: int) -> float:
        rising = (step + 1) / warmup_steps if warmup_steps else 1.0
        return max(0.0, min(1.0, rising, (total_steps - step) / decay_steps))

    return LambdaLR(optimizer, factor)


def start_from(network: StarDist, probability: float, distance: float) -> None:
    """Sets the biases of the heads so that an untrained network predicts ``probability`` and ``distance`` (voxels).

    StarDist starts from zero, and its first hundred steps only learn how rare and how large objects are; at a learning
    rate fit for a short run those steps kill many of the ReLUs before the heads.
    """
    with torch.no_grad():
        for head, value in ((network.probability, math.log(probability / (1 - probability))),
                            (network.distances, distance)):  # fmt: skip
            assert head.bias is not None
            head.bias.fill_(value)


def warm_start(network: StarDist, path: str) -> None:
    """Loads the weights of a trained network into ``network``, for a training that goes on from them.

    Only the weights are taken over: optimiser, schedule and averages start afresh. A run that was interrupted is
    resumed instead (``resume=RUN_FOLDER``).

    Args:
        network: of the same architecture.
        path: what :func:`anystar_torch.network.loading.load_model` takes, or "pretrained" for the shipped weights.

    Raises:
        ValueError: no such model, or one of another architecture; says what differs.
    """
    trained, _ = loading.load_model(None if path == "pretrained" else path)
    different = differences(flat(trained.architecture), flat(network.architecture))
    if different:
        raise ValueError(
            f"warm_start={path} has another architecture: {', '.join(different)}; choose the same with model=..."
        )
    network.load_state_dict(trained.state_dict())


class Training(L.LightningModule):
    """A StarDist network in training.

    Args:
        network: the network.
        loss: logits and targets to losses.
        optimizer: parameters to optimiser.
        schedule: optimiser to per-step learning-rate schedule.
        start: "probability" and "distance" the untrained network shall predict (:func:`start_from`); None for biases
            of zero, as StarDist has.
        channels_last: whether to train in the memory format with channels last, which tensor cores and AMX prefer.
        compile: whether the network is compiled for training; what is saved is the network itself.
    """

    def __init__(
        self,
        *,
        network: StarDist,
        loss: StarDistLoss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LambdaLR],
        start: Mapping[str, float] | None,
        channels_last: bool,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer, self.schedule = optimizer, schedule
        if start is not None:
            start_from(network, **start)
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self._logits = torch.compile(network.logits) if compile else network.logits
        self._losses: HostCopy | None = None

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch; callbacks.StopOnNonFinite stops the run if it is not finite."""
        losses = self.training_losses(batch)
        # Queued before the backward pass: whoever reads it waits for the forward pass only.
        self._losses = HostCopy(torch.stack([loss.detach() for loss in losses]))
        return losses.total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Logs the losses of the steps that the loggers write; a figure of a step in between would stall the device.

        What is logged here is on the CPU: Lightning reads the logged tensors of the progress bar at every step.
        """
        trainer: Any = self.trainer
        due = trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0
        if self._losses is None or not (due or trainer.should_stop):
            return
        total, probability, distances = self._losses.value().unbind()
        self.log("loss", total, prog_bar=True)
        self.log_dict({"loss/probability": probability, "loss/distances": distances})

    def validation_step(self, batch: Batch, index: int) -> None:
        """Mean losses over the validation ids."""
        losses = self.training_losses(batch)
        for name, value in zip(
            ("val_loss", "val_loss/probability", "val_loss/distances"), losses, strict=True
        ):
            self.log(name, value, batch_size=len(batch.ids), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Optimiser over the network's parameters, its schedule stepped after every batch."""
        optimizer = self.optimizer(self.network.parameters())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the network's architecture, which a resumed run is compared with."""
        checkpoint[ARCHITECTURE] = self.network.architecture

    def training_losses(self, batch: Batch) -> Losses:
        """The losses of a batch, with the gradients that lead to the network."""
        image = batch.image.contiguous(memory_format=self.memory_format)
        return self.loss(self._logits(image), batch.probability, batch.distances)
