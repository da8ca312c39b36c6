"""StarDist's training loss, computed from logits.

It has two parts: the binary cross-entropy of the probability, and the absolute error of the distances weighted by the
target probability. A small term pulls distances outside objects to zero (StarDist 0.9, ``generic_masked_loss``
with "mae").

StarDist clips probabilities to [1e-7, 1 - 1e-7] and has no gradient beyond. The cross-entropy of logits needs no
clipping. Both are equal where StarDist does not clip.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

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
    distances: Distances, target: Distances, mask: Probability, background: float
) -> Float[Tensor, ""]:
    """Weighted mean absolute error of the distances, plus the background term.

    Args:
        distances: output of the network before clipping, ``[B, R, d, h, w]``, voxels.
        target: target distances, ``[B, R, d, h, w]``, voxels.
        mask: weight of each grid point, ``[B, 1, d, h, w]``: its target probability. Ignored points have the weight 0.
        background: weight of the term that pulls distances to zero (StarDist: 1e-4). It is multiplied by 1 - mask, so
            it also acts inside objects.
    """
    on_error = mask / (mask.mean() + _MASK_EPSILON)
    value: Tensor = _WeightedError.apply(distances, target, on_error, background * (1.0 - mask))  # type: ignore[no-untyped-call]
    return value


class _WeightedError(torch.autograd.Function):
    """Mean of ``on_error * |distances - target| + on_size * |distances|``; its gradient is made along the way.

    The arrays are the largest of a training step (all rays at every grid point). Left to autograd, this loss took a
    third of the step of AnyStar's network in bf16, kept six copies in float32, and gave the network a gradient in
    another memory format than its activations.
    """

    @staticmethod
    def forward(
        ctx: Any, distances: Distances, target: Distances, on_error: Probability, on_size: Probability
    ) -> Tensor:
        native = distances.device.type == "cpu" and implementation(distances.device) == "native"
        native = native and distances.dtype in (torch.float32, torch.bfloat16)
        weighted = _native_error if native else _torch_error
        total, gradient = weighted(distances, target, on_error, on_size)
        ctx.save_for_backward(gradient)
        return total / distances.numel()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream[0] / gradient.numel()), None, None, None


def _torch_error(
    distances: Distances, target: Distances, on_error: Probability, on_size: Probability
) -> tuple[Tensor, Tensor]:
    """The sum, and its gradient in the precision and the memory format of the distances."""
    values = distances.float()
    error = torch.empty_like(values).copy_(target).sub_(values)
    weighted = error.abs().sum(1, keepdim=True) * on_error + values.abs().sum(1, keepdim=True) * on_size
    gradient = values.sign().mul_(on_size).sub_(error.sign_().mul_(on_error))
    return weighted.sum(), gradient.to(distances.dtype)


@torch.library.custom_op("anystar::weighted_error", mutates_args=(), device_types="cpu")
def _native_error(
    distances: Tensor, target: Tensor, on_error: Tensor, on_size: Tensor
) -> tuple[Tensor, Tensor]:
    from anystar_torch.kernels import _native

    b, r = distances.shape[:2]
    rows = distances.permute(0, 2, 3, 4, 1).contiguous()  # no copy where channels are last
    gradient = torch.empty_like(rows)
    stored = torch.uint16 if rows.dtype == torch.bfloat16 else rows.dtype  # NumPy has no bfloat16
    total = _native.weighted_error(
        rows.view(b, -1, r).view(stored).numpy(),
        target.contiguous().view(b, r, -1).numpy(),
        on_error.contiguous().view(b, -1).numpy(),
        on_size.contiguous().view(b, -1).numpy(),
        gradient.view(b, -1, r).view(stored).numpy(),
        torch.get_num_threads(),
    )
    return torch.tensor(total, dtype=torch.float32), gradient.permute(0, 4, 1, 2, 3)


@_native_error.register_fake
def _(distances: Tensor, target: Tensor, on_error: Tensor, on_size: Tensor) -> tuple[Tensor, Tensor]:
    total = distances.new_empty((), dtype=torch.float32)
    return total, torch.empty_like(distances, memory_format=torch.channels_last_3d)


class _FusedLoss(torch.autograd.Function):
    """The whole loss in the kernels of :mod:`anystar_torch.kernels.triton.loss`; its gradient is made along the way."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Probability,
        distances: Distances,
        probability: Probability,
        target: Distances,
        loss: "StarDistLoss",
        gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.weights = float(loss.probability_weight), float(loss.distance_weight)
        total, on_probability, on_distances, *gradients = _stardist_loss(
            logits, distances, probability, target, *ctx.weights, float(loss.background), gradient
        )
        ctx.gradients = gradients
        return total, on_probability, on_distances

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("this loss was differentiated before; compute it again for another gradient")
        (to_logits, to_distances, scales), ctx.gradients = ctx.gradients, None  # they are changed in place
        total, *parts = upstream
        factors = [_factor(total, part, weight) for part, weight in zip(parts, ctx.weights, strict=True)]
        _scale_gradients(
            to_logits, to_distances, *(scales.new_zeros(()) if f is None else f for f in factors), scales
        )
        return to_logits, to_distances, None, None, None, None


def _factor(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    """What the gradient of ``weight`` times a part is to be multiplied by; a weight of 0 was taken to be 1 there."""
    if weight == 0.0:
        return part
    if part is None:
        return total
    return part / weight if total is None else total + part / weight


@torch.library.custom_op("anystar::stardist_loss", mutates_args=())
def _stardist_loss(
    logits: Tensor,
    distances: Tensor,
    probability: Tensor,
    target: Tensor,
    probability_weight: float,
    distance_weight: float,
    background: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    from anystar_torch.kernels.triton.loss import stardist_loss

    weights = probability_weight, distance_weight
    return stardist_loss(logits, distances, probability, target, weights, background, gradient)


@_stardist_loss.register_fake
def _(
    logits: Tensor,
    distances: Tensor,
    probability: Tensor,
    target: Tensor,
    probability_weight: float,
    distance_weight: float,
    background: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    losses = [probability.new_empty(()) for _ in range(3)]
    last = distances.is_contiguous(memory_format=torch.channels_last_3d)
    like = logits.contiguous(), distances if last else distances.contiguous()
    gradients = [torch.empty_like(x) if gradient else x.new_empty(0) for x in like]
    return losses[0], losses[1], losses[2], gradients[0], gradients[1], probability.new_empty(2)


@torch.library.custom_op("anystar::scale_gradients", mutates_args=("to_logits", "to_distances"))
def _scale_gradients(
    to_logits: Tensor, to_distances: Tensor, logit_factor: Tensor, distance_factor: Tensor, scales: Tensor
) -> None:
    from anystar_torch.kernels.triton.loss import scale_gradients

    scale_gradients(to_logits, to_distances, logit_factor, distance_factor, scales)


@_scale_gradients.register_fake
def _(
    to_logits: Tensor, to_distances: Tensor, logit_factor: Tensor, distance_factor: Tensor, scales: Tensor
) -> None:
    return None


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
            probability: target probability, ``[B, 1, d, h, w]``.
            distances: target distances, ``[B, R, d, h, w]``, voxels.
        """
        if implementation(logits[1].device) == "triton":
            gradient = torch.is_grad_enabled() and any(output.requires_grad for output in logits)
            losses = _FusedLoss.apply(*logits, probability, distances, self, gradient)  # type: ignore[no-untyped-call]
            return Losses(*losses)
        mask = torch.clamp_min(probability, 0.0)
        on_probability = probability_loss(logits[0].float(), probability)
        on_distances = distance_loss(logits[1], distances, mask, self.background)
        total = self.probability_weight * on_probability + self.distance_weight * on_distances
        return Losses(total, on_probability, on_distances)
