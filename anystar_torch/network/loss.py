"""StarDist's training loss, computed from logits.

It has two parts: the binary cross-entropy of the probability, and the absolute error of the distances weighted by the
target probability. A small term pulls distances outside objects to zero (StarDist 0.9, ``generic_masked_loss``
with "mae").

StarDist clips probabilities to [1e-7, 1 - 1e-7] and has no gradient beyond. The cross-entropy of logits needs no
clipping. Both are equal where StarDist does not clip.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.kernels import loss as kernels
from anystar_torch.kernels.implementations import implementation
from anystar_torch.network.stardist import Distances, Probability

_MASK_EPSILON = 1e-7  # StarDist's guard for a batch without any object


class Losses(NamedTuple):
    """The weighted sum and its two parts, each a scalar tensor."""

    total: Float[Tensor, ""]
    probability: Float[Tensor, ""]
    distances: Float[Tensor, ""]


def probability_loss(logits: Probability, target: Probability) -> Float[Tensor, ""]:
    """Mean binary cross-entropy over the grid points.

    Args:
        logits: probability before the sigmoid, ``[B, 1, d, h, w]``.
        target: target probability in [0, 1], ``[B, 1, d, h, w]``. Points with a negative target are ignored.
    """
    valid = (target >= 0).to(logits.dtype)
    error = F.binary_cross_entropy_with_logits(logits, target.clamp_min(0.0), reduction="none")
    return (error * valid).sum() / valid.sum().clamp_min(1.0)


def distance_loss(
    distances: Distances, target: Distances, probability: Probability, background: float
) -> Float[Tensor, ""]:
    """Weighted mean absolute error of the distances, plus the background term.

    Args:
        distances: output of the network before clipping, ``[B, R, d, h, w]``, voxels.
        target: target distances, ``[B, R, d, h, w]``, voxels.
        probability: target probability of each grid point, the weight of its error, ``[B, 1, d, h, w]``. Points with a
            negative target are ignored: they count in neither term. StarDist pulls their distances to zero.
        background: weight of the term that pulls distances to zero (StarDist: 1e-4). It is multiplied by 1 -
            ``probability``, so it also acts inside objects.
    """
    mask = probability.clamp_min(0.0)
    on_error = mask / (mask.mean() + _MASK_EPSILON)
    on_size = torch.where(probability >= 0.0, background * (1.0 - mask), 0.0)
    return kernels.weighted_error(distances, target, on_error, on_size)


@dataclass(frozen=True, kw_only=True)
class StarDistLoss:
    """Weighted sum of both parts of the loss.

    Attributes:
        probability_weight: weight of the cross-entropy (AnyStar ``losswt_1``).
        distance_weight: weight of the distance term (AnyStar ``losswt_2``).
        background: weight of the background term in the distance term (StarDist ``train_background_reg``).
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
        """Losses of the network's output, computed in float32, also with autocast.

        On a GPU each result can be differentiated once.

        Args:
            logits: probability before the sigmoid and distances before clipping, as ``StarDist.logits`` returns them.
            probability: target probability, ``[B, 1, d, h, w]``; negative where a point is ignored.
            distances: target distances, ``[B, R, d, h, w]``, voxels.
        """
        if implementation(logits[1].device) == "triton":
            weights = float(self.probability_weight), float(self.distance_weight)
            targets = probability, distances
            return Losses(*kernels.stardist_loss(logits, targets, weights, float(self.background)))
        on_probability = probability_loss(logits[0].float(), probability)
        on_distances = distance_loss(logits[1], distances, probability, self.background)
        total = self.probability_weight * on_probability + self.distance_weight * on_distances
        return Losses(total, on_probability, on_distances)
