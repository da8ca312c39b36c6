"""The gradients of StarDist's loss, multiplied by what comes from above, on a GPU: one launch."""

import triton
import triton.language as tl
from torch import Tensor

from anystar_torch.kernels.triton.lanes import lanes
from anystar_torch.kernels.triton.launch import Specialisation, on_device_of

BLOCK = 1024
PROGRAMS = lanes(1024, 2)  # they share the blocks of both gradients


@triton.jit
def _multiply(gradient, count, factor, BLOCK: tl.constexpr):
    """Multiply in place; a factor of 1 reads and writes nothing."""
    if factor != 1.0:
        for block in range(tl.program_id(0), tl.cdiv(count, BLOCK), tl.num_programs(0)):
            place = block * tl.full((1,), BLOCK, tl.int64) + tl.arange(0, BLOCK)
            value = tl.load(gradient + place, mask=place < count, other=0.0).to(tl.float32) * factor
            tl.store(gradient + place, value.to(gradient.dtype.element_ty), mask=place < count)


@triton.jit
def _scale(
    to_logits,
    to_distances,
    logit_factor,
    distance_factor,
    scales,
    logits,
    distances,
    BLOCK: tl.constexpr,
):
    """Multiply both gradients by their factor and by their scale."""
    _multiply(to_distances, distances, tl.load(distance_factor) * tl.load(scales + 1), BLOCK)
    _multiply(to_logits, logits, tl.load(logit_factor) * tl.load(scales), BLOCK)


def scale_gradients(
    to_logits: Tensor, to_distances: Tensor, logit_factor: Tensor, distance_factor: Tensor, scales: Tensor
) -> None:
    """Multiply both gradients, in place, by their factors and scales.

    Args:
        to_logits: gradient ``[B, 1, d, h, w]``.
        to_distances: gradient ``[B, R, d, h, w]``.
        logit_factor: float32 scalar.
        distance_factor: float32 scalar.
        scales: float32 ``[2]``, what :func:`anystar_torch.kernels.triton.loss.stardist_loss` left to multiply by.
    """
    with on_device_of(to_logits):
        _scale[(PROGRAMS,)](
            to_logits,
            to_distances,
            logit_factor,
            distance_factor,
            scales,
            to_logits.numel(),
            to_distances.numel(),
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )


_TYPES = {"to_logits": "*bf16", "to_distances": "*bf16", "logits": "i32", "distances": "i32"}
_TYPES |= {"logit_factor": "*fp32", "distance_factor": "*fp32", "scales": "*fp32"}
SPECIALISATIONS = {"loss.scale": Specialisation(_scale, _TYPES, {"BLOCK": BLOCK})}
