"""The Lightning module of a fine-tuning."""

from typing import Any

import torch
from torch import nn

from anystar_torch.network.loss import Losses
from anystar_torch.network.stardist import StarDist
from anystar_torch.training.data import Batch
from anystar_torch.training.finetuning_data import is_crop
from anystar_torch.training.module import Training


class FineTuning(Training):
    """A trained network in further training, whose batch normalisation keeps its statistics.

    The statistics of a batch of two samples, of which one is real, are far from those that prediction uses. With the
    statistics of the first training, what is trained is what predicts.

    Targets of synthetic samples are the predictions of the network that the training starts from (learning without
    forgetting, Li and Hoiem 2016). Their labels would also change what the network has learned since it was trained on
    such samples, for example where it draws outlines. Validation samples keep the targets of their labels.

    Args:
        teacher: a copy of the network that the training starts from. It is not trained and not stored in checkpoints.
            None for targets from the labels.
        annotated_share: share of the crops among the samples, as in
            :class:`~anystar_torch.training.finetuning_data.FineTuningData`.
        settings: arguments of :class:`~anystar_torch.training.module.Training`.
    """

    def __init__(
        self, *, teacher: StarDist | None = None, annotated_share: float | int = 1, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.annotated_share = annotated_share
        # A tuple, so that the parameters of the teacher are not among those of this module.
        self._teacher: tuple[StarDist, ...] = (
            () if teacher is None else (teacher.eval().requires_grad_(False),)
        )
        for network in self._teacher:
            network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.train()

    def train(self, mode: bool = True) -> "FineTuning":
        """Switch to training or evaluation. Batch normalisation stays in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def training_losses(self, batch: Batch) -> Losses:
        """The losses of a batch. In training, targets of synthetic samples are predictions of the teacher.

        Args:
            batch: images and the targets on the grid.
        """
        return super().training_losses(self._taught(batch) if self.training and self._teacher else batch)

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Batch:
        """The batch with predictions of the teacher as targets of its synthetic samples."""
        (teacher,) = self._teacher
        teacher.to(batch.image.device)
        synthetic = ~is_crop(batch.ids, self.annotated_share)
        if batch.ids.device.type == "cpu":
            rows = synthetic.nonzero()[:, 0]
        else:  # all samples, so that the host does not wait for the number of synthetic ones
            rows = torch.arange(len(batch.ids), device=batch.ids.device)
        if len(rows) == 0:
            return batch
        image = batch.image[rows].contiguous(memory_format=self.memory_format)
        logits, lengths = teacher.logits(image)
        where = synthetic[:, None, None, None, None]
        probability, distances = (
            torch.where(where, known.index_copy(0, rows, predicted), known)
            for known, predicted in (
                (batch.probability, logits.float().sigmoid()),
                (batch.distances, lengths.to(batch.distances.dtype).clamp_min(0.0)),
            )
        )
        return batch._replace(probability=probability, distances=distances)
