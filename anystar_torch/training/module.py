"""The Lightning module: training step, validation step, optimiser and initial weights."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anystar_torch.network import loading
from anystar_torch.network.loss import Losses, StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.training.checkpoints import LAST, averaged_weights
from anystar_torch.training.data import Batch
from anystar_torch.training.readback import HostCopy
from anystar_torch.training.resuming import ARCHITECTURE, check_same_network, differences, flat


def linear_decay(
    optimizer: Optimizer, *, total_steps: int, decay_steps: int, warmup_steps: int = 0
) -> LambdaLR:
    """Learning-rate schedule with a linear warm-up and a linear decay to zero.

    With ``decay_steps`` equal to ``total_steps`` it is the schedule of AnyStar's paper. AnyStar's code keeps the rate
    constant (``train_reduce_lr=None``).

    Args:
        optimizer: the optimiser to schedule.
        total_steps: number of steps of the run.
        decay_steps: number of steps at the end of the run over which the rate falls to zero.
        warmup_steps: number of steps at the beginning over which the rate rises.

    Raises:
        ValueError: ``total_steps`` or ``decay_steps`` is below 1.
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
    """Set the biases of the heads to the mean targets.

    StarDist's biases start at zero, so its first hundred steps only learn the mean targets. At a high learning rate
    these steps set many ReLUs before the heads to zero for good.

    Args:
        network: changed in place.
        probability: mean target probability, in (0, 1).
        distance: mean target distance, voxels.
    """
    with torch.no_grad():
        assert network.probability.bias is not None
        network.probability.bias.fill_(math.log(probability / (1 - probability)))
        assert network.distances.bias is not None
        network.distances.bias.fill_(distance)


def warm_start(network: StarDist, path: str) -> None:
    """Load the weights of a trained network into ``network``.

    Only the weights are loaded. Optimiser, schedule and averages start again.

    Args:
        network: a network of the same architecture, changed in place.
        path: what :func:`anystar_torch.network.loading.load_model` takes, or "pretrained" for the shipped weights. Of a
            run folder without a model the averaged weights of the last checkpoint are loaded.

    Raises:
        ValueError: there is no such model, or its architecture differs. The message lists the differences.
    """
    checkpoint = Path(path, "checkpoints", LAST)
    if checkpoint.is_file() and not Path(path, "model").is_dir():
        check_same_network(checkpoint, network)
        network.load_state_dict(averaged_weights(checkpoint))
        return
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
        loss: computes the losses from logits and targets.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule of every step from the optimiser.
        start: "probability" and "distance" for :func:`start_from`; None for biases of zero, as in StarDist.
        channels_last: whether to use the memory format with channels last, which is faster on tensor cores and AMX.
        compile: whether to compile the network for training. The uncompiled network is saved.
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

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """Loss of a batch. The callback StopOnNonFinite stops the run if it is not finite."""
        losses = self.training_losses(batch)
        # The copy is queued before the backward pass, so reading it waits for the forward pass only.
        self._losses = HostCopy(torch.stack([loss.detach() for loss in losses]))
        return losses.total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the losses at the steps that loggers write. Logging every step would stall the device.

        The logged tensors are on the CPU, because Lightning reads those of the progress bar at every step.
        """
        trainer: Any = self.trainer
        due = trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0
        if self._losses is None or not (due or trainer.should_stop):
            return
        total, probability, distances = self._losses.value().unbind()
        self.log("loss", total, prog_bar=True)
        self.log_dict({"loss/probability": probability, "loss/distances": distances})

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the mean losses over the validation ids."""
        losses = self.training_losses(batch)
        for name, value in zip(
            ("val_loss", "val_loss/probability", "val_loss/distances"), losses, strict=True
        ):
            self.log(name, value, batch_size=len(batch.ids), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser of the network's parameters, and its schedule, which is updated after every step."""
        optimizer = self.optimizer(self.network.parameters())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the network's architecture, which a resumed run is compared with."""
        checkpoint[ARCHITECTURE] = self.network.architecture

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Replace the learning rate in the checkpoint by that of the settings, if they differ."""
        rate = getattr(self.optimizer, "keywords", {}).get("lr")
        states = zip(
            checkpoint.get("optimizer_states", []), checkpoint.get("lr_schedulers", []), strict=False
        )
        for optimizer, schedule in states if rate is not None else ():
            for group in optimizer["param_groups"]:
                before = group.get("initial_lr", rate)
                if before != rate:
                    group["lr"] = group["lr"] / before * rate if before else rate
                    group["initial_lr"] = rate
            schedule["base_lrs"] = [rate] * len(schedule["base_lrs"])

    def training_losses(self, batch: Batch) -> Losses:
        """The losses of a batch, with their gradients with respect to the network's weights.

        Args:
            batch: images and the targets on the grid.
        """
        image = batch.image.contiguous(memory_format=self.memory_format)
        return self.loss(self._logits(image), batch.probability, batch.distances)
