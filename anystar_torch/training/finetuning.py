"""The Lightning module of a fine-tuning."""

from typing import Any

from torch import nn

from anystar_torch.training.module import Training


class FineTuning(Training):
    """A trained network in further training, whose batch normalisation keeps its statistics.

    The statistics of a batch of two samples, of which one is real, are far from those that prediction uses. With the
    statistics of the first training, what is trained is what predicts.

    Arguments are those of :class:`~anystar_torch.training.module.Training`.
    """

    def train(self, mode: bool = True) -> "FineTuning":
        """Switch to training or evaluation. Batch normalisation stays in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.train()
