"""Kernels of StarDist's training loss, and their gradients.

C++: ``csrc/weighted_error.hpp``, the distance part on the CPU. Triton: ``triton/loss.py`` and ``triton/gradients.py``,
the whole loss on a GPU. :func:`torch_weighted_error` is the reference of the first; the formula of
:mod:`anystar_torch.network.loss` in float64 is that of the second. Sums agree to 2e-6 relative, gradients to the
rounding of their type.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anystar_torch.kernels.implementations import implementation

Distances = Float[Tensor, "b r d h w"]
OnePerPoint = Float[Tensor, "b 1 d h w"]
Scalar = Float[Tensor, ""]


def weighted_error(
    distances: Distances, target: Distances, on_error: OnePerPoint, on_size: OnePerPoint
) -> Scalar:
    """Mean of ``on_error * |distances - target| + on_size * |distances|``, differentiable in the distances.

    The distances are the largest array of a training step, so the gradient is computed in the forward pass. Left to
    autograd, this loss took a third of a step of AnyStar's network in bf16 and kept six copies in float32.

    Args:
        distances: ``[B, R, d, h, w]``, the network's, voxels.
        target: ``[B, R, d, h, w]``, the true ones, voxels.
        on_error: ``[B, 1, d, h, w]``, weight of the error.
        on_size: ``[B, 1, d, h, w]``, weight of the distance itself.
    """
    value: Tensor = _WeightedError.apply(distances, target, on_error, on_size)  # type: ignore[no-untyped-call]
    return value


class _WeightedError(torch.autograd.Function):
    """The value and gradient of :func:`weighted_error`."""

    @staticmethod
    def forward(
        ctx: Any, distances: Distances, target: Distances, on_error: OnePerPoint, on_size: OnePerPoint
    ) -> Tensor:
        native = distances.device.type == "cpu" and implementation(distances.device) == "native"
        native = native and distances.dtype in (torch.float32, torch.bfloat16)
        run = native_weighted_error if native else torch_weighted_error
        total, gradient = run(distances, target, on_error, on_size)
        ctx.save_for_backward(gradient)
        return total / distances.numel()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream[0] / gradient.numel()), None, None, None


def torch_weighted_error(
    distances: Distances, target: Distances, on_error: OnePerPoint, on_size: OnePerPoint
) -> tuple[Tensor, Tensor]:
    """The sum of :func:`weighted_error`, and its gradient in the type and memory format of the distances.

    Arguments are those of :func:`weighted_error`.
    """
    values = distances.float()
    error = torch.empty_like(values).copy_(target).sub_(values)
    weighted = error.abs().sum(1, keepdim=True) * on_error + values.abs().sum(1, keepdim=True) * on_size
    gradient = values.sign().mul_(on_size).sub_(error.sign_().mul_(on_error))
    return weighted.sum(), gradient.to(distances.dtype)


@torch.library.custom_op("anystar::weighted_error", mutates_args=(), device_types="cpu")
def native_weighted_error(
    distances: Tensor, target: Tensor, on_error: Tensor, on_size: Tensor
) -> tuple[Tensor, Tensor]:
    """The C++ kernel of :func:`torch_weighted_error`.

    Arguments are those of :func:`weighted_error`.
    """
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


@native_weighted_error.register_fake
def _(distances: Tensor, target: Tensor, on_error: Tensor, on_size: Tensor) -> tuple[Tensor, Tensor]:
    total = distances.new_empty((), dtype=torch.float32)
    return total, torch.empty_like(distances, memory_format=torch.channels_last_3d)


def stardist_loss(
    outputs: tuple[OnePerPoint, Distances],
    targets: tuple[OnePerPoint, Distances],
    weights: tuple[float, float],
    background: float,
) -> tuple[Scalar, Scalar, Scalar]:
    """Total, probability loss and distance loss by the Triton kernels; each can be differentiated once.

    Args:
        outputs: logits ``[B, 1, d, h, w]`` and distances ``[B, R, d, h, w]`` of the network.
        targets: probability (below 0 where a point is ignored) and distances, float32.
        weights: of probability loss and distance loss in the total.
        background: weight of the pull of the distances to zero.
    """
    gradient = torch.is_grad_enabled() and any(output.requires_grad for output in outputs)
    total, on_probability, on_distances = _FusedLoss.apply(*outputs, *targets, weights, background, gradient)  # type: ignore[no-untyped-call]
    return total, on_probability, on_distances


class _FusedLoss(torch.autograd.Function):
    """The values and gradients of :func:`stardist_loss`; the forward pass computes both."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: OnePerPoint,
        distances: Distances,
        probability: OnePerPoint,
        target: Distances,
        weights: tuple[float, float],
        background: float,
        gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.weights = weights
        total, on_probability, on_distances, *gradients = _stardist_loss(
            logits, distances, probability, target, *weights, background, gradient
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
        return to_logits, to_distances, None, None, None, None, None


def _factor(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    """Factor on the gradient of ``weight`` times a part. The kernel takes a weight of 0 to be 1 there."""
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
    from anystar_torch.kernels.triton import loss

    weights = probability_weight, distance_weight
    return loss.stardist_loss(logits, distances, probability, target, weights, background, gradient)


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
    from anystar_torch.kernels.triton import gradients

    gradients.scale_gradients(to_logits, to_distances, logit_factor, distance_factor, scales)


@_scale_gradients.register_fake
def _(
    to_logits: Tensor, to_distances: Tensor, logit_factor: Tensor, distance_factor: Tensor, scales: Tensor
) -> None:
    return None
