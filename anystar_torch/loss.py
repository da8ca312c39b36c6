"""StarDist's training loss, on logits.

Binary cross-entropy against the soft probability, and the absolute error of the distances weighted by that
probability, with a weak pull to zero outside objects (StarDist 0.9 ``generic_masked_loss`` with "mae"). One deliberate
difference: StarDist clips probabilities to [1e-7, 1 - 1e-7], where the gradient ends; the cross-entropy on logits needs
no clipping and agrees with it wherever nothing is clipped.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.stardist import Distances, Probability

_MASK_EPSILON = 1e-7  # StarDist's guard for a batch without any object


class Losses(NamedTuple):
    """The weighted sum and its two parts, each a scalar tensor."""

    total: Float[Tensor, ""]
    probability: Float[Tensor, ""]
    distances: Float[Tensor, ""]


def probability_loss(logits: Probability, target: Probability) -> Float[Tensor, ""]:
    """Mean binary cross-entropy over the grid points.

    Args:
        logits: probability before the sigmoid.
        target: in [0, 1]; below 0 means "ignore this point".
    """
    valid = (target >= 0).to(logits.dtype)
    error = F.binary_cross_entropy_with_logits(logits, target.clamp_min(0.0), reduction="none")
    return (error * valid).sum() / valid.sum().clamp_min(1.0)


def distance_loss(
    distances: Distances, target: Distances, mask: Probability, background: float
) -> Float[Tensor, ""]:
    """Masked mean absolute error plus the background term.

    Args:
        distances: the network's, unclipped, in voxels.
        target: the true ones, in voxels.
        mask: weight of a grid point: the object probability, so that centres weigh most; ignored points have 0.
        background: weight of the pull of ``distances`` to zero where ``mask`` is low (StarDist: 1e-4; it acts with
            1 - mask inside objects too).
    """
    error = (distances - target).abs().mean(1, keepdim=True) * mask
    pull = distances.abs().mean(1, keepdim=True) * (1.0 - mask)
    return error.mean() / (mask.mean() + _MASK_EPSILON) + background * pull.mean()


@dataclass(frozen=True, kw_only=True)
class StarDistLoss:
    """The weighted sum of both parts.

    Attributes:
        probability_weight: weight of the cross-entropy (AnyStar ``losswt_1``).
        distance_weight: weight of the distance term (AnyStar ``losswt_2``).
        background: weight of the background term inside the distance term (StarDist ``train_background_reg``).
    """

    probability_weight: float | int
    distance_weight: float | int
    background: float | int

    def __call__(
        self,
        logits: tuple[Probability, Distances],
        probability: Probability,
        distances: Distances,
    ) -> Losses:
        """Losses of the network's ``logits`` against the targets, computed in float32 whatever the autocast."""
        mask = torch.clamp_min(probability, 0.0)
        on_probability = probability_loss(logits[0].float(), probability)
        on_distances = distance_loss(logits[1].float(), distances, mask, self.background)
        total = self.probability_weight * on_probability + self.distance_weight * on_distances
        return Losses(total, on_probability, on_distances)
