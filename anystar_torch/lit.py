"""The training step, and nothing else: Lightning runs it, Hydra fills it in."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anystar_torch.data import Batch
from anystar_torch.loss import Losses, StarDistLoss
from anystar_torch.stardist import StarDist


def linear_decay(optimizer: Optimizer, *, total_steps: int, warmup_steps: int = 0) -> LambdaLR:
    """Learning rate that rises for ``warmup_steps`` and then falls linearly to zero at ``total_steps``.

    AnyStar's paper decays linearly (its code does not: ``train_reduce_lr=None``); without warm-up this is the paper's.
    """

    def factor(step: int) -> float:
        rising = (step + 1) / warmup_steps if warmup_steps else 1.0
        falling = (total_steps - step) / max(1, total_steps - warmup_steps)
        return max(0.0, min(1.0, rising, falling))

    return LambdaLR(optimizer, factor)


class Training(L.LightningModule):
    """A StarDist network in training.

    Args:
        network: the network.
        loss: logits and targets to losses.
        optimizer: parameters to optimiser.
        schedule: optimiser to per-step learning-rate schedule.
        channels_last: whether to train in the memory format with channels last, which tensor cores and AMX prefer.
    """

    def __init__(
        self,
        *,
        network: StarDist,
        loss: StarDistLoss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LambdaLR],
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer, self.schedule = optimizer, schedule
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        network.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch; callbacks.StopOnNonFinite stops the run if it is not finite."""
        losses = self._losses(batch)
        self.log("loss", losses.total, prog_bar=True)
        self.log_dict({"loss/probability": losses.probability, "loss/distances": losses.distances})
        return losses.total

    def validation_step(self, batch: Batch, index: int) -> None:
        """Mean losses over the validation ids."""
        losses = self._losses(batch)
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

    def _losses(self, batch: Batch) -> Losses:
        image = batch.image.contiguous(memory_format=self.memory_format)
        return self.loss(self.network.logits(image), batch.probability, batch.distances)
