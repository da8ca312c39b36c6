"""StarDist's loss and its gradient on a GPU: three launches forward, one backward (``gradients.py``).

The distances are the largest arrays of a training step and are read once, the true ones in objects only, because they
have no weight elsewhere. The gradient is written in the same pass, multiplied by the weight of the distances in the
total: this is the gradient of the total. The backward launch multiplies it where another factor than 1 comes from
above, and otherwise ends at once. Gradients in float16 are divided by the number of elements only then, because they
would underflow before.

The sums are those of fixed blocks in a fixed order: every run gives the same bits.
"""

import triton
import triton.language as tl
from torch import Tensor, channels_last_3d, empty, empty_like, float16, float32

from anystar_torch.kernels.triton.lanes import block_of_program, lanes
from anystar_torch.kernels.triton.launch import Specialisation, blocks, on_device_of, programs

BLOCK = 1024
PARTS = lanes(256, 4)  # programs that share the sums over the grid points
POINTS, RAYS = lanes(32, 128), 32  # tile of the distances
SUMMED = lanes(4096, 1024)  # blocks whose sums are added at a time


@triton.jit
def _cross_entropy(logit, target):
    """Binary cross-entropy with a logit, and the sigmoid of the logit."""
    small = tl.exp(-tl.abs(logit))
    whole = 1.0 + small
    # log(1 + small), corrected by what the sum lost to rounding (Kahan)
    tail = tl.where(whole == 1.0, small, tl.log(whole) * (small / tl.where(whole == 1.0, 1.0, whole - 1.0)))
    sigmoid = tl.where(logit >= 0.0, 1.0, small) / whole
    return tl.maximum(logit, 0.0) - logit * target + tail, sigmoid


@triton.jit
def _sum_points(logits, probability, parts, count, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums of a part of the points: of the cross-entropy, of the points that count, of the mask."""
    part = tl.program_id(0)
    errors = tl.zeros((BLOCK,), tl.float32)
    valid = tl.zeros((BLOCK,), tl.float32)
    masks = tl.zeros((BLOCK,), tl.float32)
    for block in range(part, tl.cdiv(count, BLOCK), PARTS):
        point = block * tl.full((1,), BLOCK, tl.int64) + tl.arange(0, BLOCK)
        target = tl.load(probability + point, mask=point < count, other=-1.0)
        logit = tl.load(logits + point, mask=point < count, other=0.0).to(tl.float32)
        mask = tl.maximum(target, 0.0)
        error, _ = _cross_entropy(logit, mask)
        counts = (target >= 0.0).to(tl.float32)
        errors += error * counts
        valid += counts
        masks += mask
    tl.store(parts + part, tl.sum(errors, 0))
    tl.store(parts + PARTS + part, tl.sum(valid, 0))
    tl.store(parts + 2 * PARTS + part, tl.sum(masks, 0))


@triton.jit
def _sign(number):
    return tl.where(number > 0.0, 1.0, 0.0) - tl.where(number < 0.0, 1.0, 0.0)


@triton.jit
def _sum_errors(
    logits,
    distances,
    probability,
    target,
    parts,
    sums,
    to_logits,
    to_distances,
    count,
    points,
    rays,
    logit_scale,
    distance_scale,
    background,
    PARTS: tl.constexpr,
    POINTS: tl.constexpr,
    RAYS: tl.constexpr,
    LAST: tl.constexpr,
    GRADIENT: tl.constexpr,
    HALF_LOGITS: tl.constexpr,
):
    """The weighted error of a block of points along all rays, and the gradients of both parts."""
    sample, tile, tiles = tl.program_id(0).to(tl.int64), block_of_program(), tl.cdiv(points, POINTS)
    first = tile * POINTS
    within = tl.arange(0, POINTS)
    exists = first + within < points
    part = tl.arange(0, PARTS)
    valid = tl.maximum(tl.sum(tl.load(parts + PARTS + part), 0), 1.0)
    mean = tl.sum(tl.load(parts + 2 * PARTS + part), 0) / count
    here = sample * points + first + within
    truth = tl.load(probability + here, mask=exists, other=-1.0)
    mask = tl.maximum(truth, 0.0)
    on_error = tl.where(exists, mask / (mean + 1e-7), 0.0)  # StarDist's guard for a batch without any object
    on_size = tl.where(exists & (truth >= 0.0), background * (1.0 - mask), 0.0)  # none at ignored points
    if GRADIENT:
        logit = tl.load(logits + here, mask=exists, other=0.0).to(tl.float32)
        _, sigmoid = _cross_entropy(logit, mask)
        slope = tl.where(truth >= 0.0, sigmoid - mask, 0.0)
        if not HALF_LOGITS:
            slope = slope * (logit_scale / valid)
        tl.store(to_logits + here, slope.to(to_logits.dtype.element_ty), mask=exists)
    error = tl.zeros((POINTS, RAYS), tl.float32)
    for start in range(0, rays, RAYS):
        ray = start + tl.arange(0, RAYS)
        inside = exists[:, None] & (ray < rays)[None, :]
        wanted = (sample * rays + ray[None, :]) * points + first + within[:, None]
        given = wanted
        if LAST:
            given = (sample * points + first) * rays + within[:, None] * rays + ray[None, :]
        value = tl.load(distances + given, mask=inside, other=0.0).to(tl.float32)
        difference = value - tl.load(target + wanted, mask=inside & (on_error != 0.0)[:, None], other=0.0)
        error += tl.abs(difference) * on_error[:, None] + tl.abs(value) * on_size[:, None]
        if GRADIENT:
            slopes = _sign(value) * on_size[:, None] + _sign(difference) * on_error[:, None]
            slopes = (slopes * distance_scale).to(to_distances.dtype.element_ty)
            tl.store(to_distances + given, slopes, mask=inside)
    tl.store(sums + sample * tiles + tile, tl.sum(tl.sum(error, 1), 0), mask=tile < tiles)


@triton.jit
def _finish(
    parts,
    sums,
    total,
    on_probability,
    on_distances,
    scales,
    number,
    elements,
    probability_weight,
    distance_weight,
    logit_scale,
    distance_scale,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
    HALF_LOGITS: tl.constexpr,
):
    """The losses from their sums, and what their gradients have still to be multiplied by."""
    part = tl.arange(0, PARTS)
    valid = tl.maximum(tl.sum(tl.load(parts + PARTS + part), 0), 1.0)
    cross_entropy = tl.sum(tl.load(parts + part), 0) / valid
    errors = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, number, BLOCK):
        place = start + tl.arange(0, BLOCK)
        errors += tl.load(sums + place, mask=place < number, other=0.0).to(tl.float64)
    error = tl.sum(errors, 0).to(tl.float32) / elements
    tl.store(on_probability, cross_entropy)
    tl.store(on_distances, error)
    tl.store(total, probability_weight * cross_entropy + distance_weight * error)
    if HALF_LOGITS:
        tl.store(scales, logit_scale / valid)
    else:
        tl.store(scales, 1.0)
    tl.store(scales + 1, distance_scale)


def dense(distances: Tensor) -> Tensor:
    """The distances ``[B, R, d, h, w]`` with channels first or channels last and no gaps, copied if need be.

    Args:
        distances: ``[B, R, d, h, w]``, in any memory format.
    """
    last = distances.is_contiguous(memory_format=channels_last_3d)
    return distances if last else distances.contiguous()


def stardist_loss(
    logits: Tensor,
    distances: Tensor,
    probability: Tensor,
    target: Tensor,
    weights: tuple[float, float],
    background: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The loss, its two parts, and the gradient of the loss.

    Args:
        logits: ``[B, 1, d, h, w]``, float32, bfloat16 or float16.
        distances: ``[B, R, d, h, w]``, the network's, one of these types.
        probability: float32 ``[B, 1, d, h, w]``, below 0 where a point is ignored.
        target: float32 ``[B, R, d, h, w]``, the true distances.
        weights: of the probability and of the distances in the total.
        background: weight of the pull of the distances to zero.
        gradient: whether the gradients are computed; they are empty otherwise.

    Returns:
        Total, probability loss and distance loss, float32 scalars. Then the gradients of the total with respect to
        logits and distances, in their types and memory formats. Then float32 ``[2]``, the factors by which the caller
        must multiply both gradients.
    """
    logits, distances = logits.contiguous(), dense(distances)
    targets = probability.contiguous(), target.contiguous()
    logit_scale, distance_scale = weights[0] or 1.0, (weights[1] or 1.0) / distances.numel()
    now, later = (1.0, distance_scale) if distances.dtype == float16 else (distance_scale, 1.0)
    gradients = [empty_like(x) if gradient else x.new_empty(0) for x in (logits, distances)]
    with on_device_of(logits):
        parts, sums = _sums(logits, distances, targets, gradients, (logit_scale, now, background))
        total, on_probability, on_distances = (parts.new_empty(()) for _ in range(3))
        scales = parts.new_empty(2)
        _finish[(1,)](
            parts,
            sums,
            total,
            on_probability,
            on_distances,
            scales,
            sums.numel(),
            float(distances.numel()),
            *weights,
            logit_scale,
            later,
            PARTS=PARTS,
            BLOCK=SUMMED,
            HALF_LOGITS=logits.dtype == float16,
            enable_fp_fusion=False,
        )
    return total, on_probability, on_distances, gradients[0], gradients[1], scales


def _sums(
    logits: Tensor,
    distances: Tensor,
    targets: tuple[Tensor, Tensor],
    gradients: list[Tensor],
    scalars: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    """Sums over parts of the points and over tiles of the distances; writes the gradients if they are not empty."""
    points = logits[0].numel()
    parts = empty(3, PARTS, dtype=float32, device=logits.device)
    sums = parts.new_empty(len(logits) * blocks(points, POINTS))
    _sum_points[(PARTS,)](
        logits, targets[0], parts, logits.numel(), PARTS=PARTS, BLOCK=BLOCK, enable_fp_fusion=False
    )
    _sum_errors[programs(len(logits), points, POINTS)](
        logits,
        distances,
        *targets,
        parts,
        sums,
        *gradients,
        logits.numel(),
        points,
        distances.shape[1],
        *scalars,
        PARTS=PARTS,
        POINTS=POINTS,
        RAYS=RAYS,
        LAST=not distances.is_contiguous(),
        GRADIENT=gradients[0].numel() > 0,
        HALF_LOGITS=logits.dtype == float16,
        enable_fp_fusion=False,
    )
    return parts, sums


_SCALARS = "logit_scale distance_scale background elements probability_weight distance_weight".split()  # noqa: SIM905
_TYPES = (
    dict.fromkeys(("count", "points", "rays", "number"), "i32")
    | dict.fromkeys(_SCALARS, "fp32")
    | dict.fromkeys(
        "probability target parts sums total on_probability on_distances scales".split(),  # noqa: SIM905
        "*fp32",
    )
)


def _specialised(kernel, *, logits: str = "i32", distances: str = "i32", **constants) -> Specialisation:
    """Specialisation for one type of the logits and of the distances, and their gradients."""
    types = _TYPES | {
        "logits": logits,
        "distances": distances,
        "to_logits": logits,
        "to_distances": distances,
    }
    return Specialisation(kernel, {n: kind for n, kind in types.items() if n in kernel.arg_names}, constants)


_TILE = {"PARTS": PARTS, "POINTS": POINTS, "RAYS": RAYS, "GRADIENT": True}
SPECIALISATIONS = {
    "loss.sum_points": _specialised(_sum_points, logits="*bf16", PARTS=PARTS, BLOCK=BLOCK),
    "loss.sum_errors.bf16": _specialised(
        _sum_errors, logits="*bf16", distances="*bf16", LAST=True, HALF_LOGITS=False, **_TILE
    ),
    "loss.sum_errors.fp16": _specialised(
        _sum_errors, logits="*fp16", distances="*fp16", LAST=True, HALF_LOGITS=True, **_TILE
    ),
    "loss.sum_errors.fp32": _specialised(
        _sum_errors, logits="*fp32", distances="*fp32", LAST=False, HALF_LOGITS=False, **_TILE
    ),
    "loss.finish": _specialised(_finish, PARTS=PARTS, BLOCK=SUMMED, HALF_LOGITS=True),
}
