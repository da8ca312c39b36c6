"""The loss of the Triton kernels and its gradient are those of autograd through the plain formula."""

import pytest
import torch

from anystar_torch.kernels.implementations import forced
from anystar_torch.network.loss import StarDistLoss

kernels = pytest.importorskip("anystar_torch.kernels.triton.loss")
gradients = pytest.importorskip("anystar_torch.kernels.triton.gradients")
pytestmark = pytest.mark.interpreter

LOSS = StarDistLoss(probability_weight=1.3, distance_weight=0.2, background=1e-2)
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]
# and the rounding of their gradients; the interpreter cuts bfloat16 off, a GPU rounds it to the nearest
DTYPES = {torch.float32: 1e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}


def case(dtype, layout, shape=(2, 35, 3, 5, 13)):
    """Logits, distances and their targets: ignored points, exact distances, zeros, large logits."""
    torch.manual_seed(1)
    b, _, *size = shape
    target = (5 * torch.rand(shape)).to(dtype).float()
    distances = torch.where(torch.rand(shape) < 0.2, target, 3 * torch.randn(shape)).to(dtype)
    distances[:, :, :, :1] = 0.0
    probability = torch.rand(b, 1, *size) * (torch.rand(b, 1, *size) < 0.6)
    probability[torch.rand(b, 1, *size) < 0.1] = -1.0
    logits = (4 * torch.randn(b, 1, *size)).to(dtype)
    logits[0, 0, 0, 0, :2] = torch.tensor([40.0, -40.0])
    outputs = [x.contiguous(memory_format=layout).requires_grad_() for x in (logits, distances)]
    return outputs, probability, target


def exact(outputs, probability, target, loss):
    """The formula in float64."""
    logits, distances = (x.detach().double().requires_grad_() for x in outputs)
    valid = (probability >= 0).double()
    mask = probability.clamp_min(0).double()
    entropy = torch.nn.functional.softplus(logits) - logits * mask
    on_probability = (entropy * valid).sum() / valid.sum().clamp_min(1)
    error = (distances - target).abs() * mask / (mask.mean() + 1e-7)
    on_distances = (error + loss.background * (valid - mask) * distances.abs()).mean()
    total = loss.probability_weight * on_probability + loss.distance_weight * on_distances
    return (logits, distances), (total, on_probability, on_distances)


def compare(outputs, probability, target, scalar, loss=LOSS, rtol=1e-6):
    inputs, expected = exact(outputs, probability, target, loss)
    with forced("triton"):
        losses = loss(tuple(outputs), probability, target)
        found = torch.autograd.grad(scalar(losses), outputs)
    wanted = torch.autograd.grad(scalar(expected), inputs, allow_unused=True)
    for ours, truth in zip(losses, expected, strict=True):
        assert ours.item() == pytest.approx(truth.item(), rel=2e-6)
    for ours, truth, output in zip(found, wanted, outputs, strict=True):
        truth = torch.zeros_like(output, dtype=torch.float64) if truth is None else truth
        assert ours.dtype == output.dtype
        assert ours.stride() == torch.empty_like(output).stride()
        torch.testing.assert_close(ours.double(), truth, rtol=rtol, atol=rtol * truth.abs().max().item())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_loss_and_gradient(dtype, layout, scale):
    compare(*case(dtype, layout), lambda losses: losses[0] * scale, rtol=DTYPES[dtype])


def test_programs_beyond_the_last_tile_add_nothing(monkeypatch):
    """7 tiles of a sample, in a grid of 3 by 3."""
    monkeypatch.setattr(kernels, "POINTS", 32)
    monkeypatch.setattr("anystar_torch.kernels.triton.launch.MOST_PROGRAMS", 3)
    compare(*case(torch.float32, LAYOUTS[0]), lambda losses: losses[0])


SCALARS = {
    "total": lambda losses: losses[0],
    "probability": lambda losses: losses[1] * 2,
    "distances": lambda losses: losses[2] * 2,
    "sum": lambda losses: losses[0] + losses[1] - losses[2],
}


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 0.5), (1.3, 0.2)])
@pytest.mark.parametrize("scalar", SCALARS)
def test_any_sum_of_the_parts_has_a_gradient(scalar, weights):
    loss = StarDistLoss(probability_weight=weights[0], distance_weight=weights[1], background=1e-4)
    compare(*case(torch.float32, LAYOUTS[0], (1, 5, 2, 3, 4)), SCALARS[scalar], loss)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_batches_without_objects_or_points(value):
    outputs, probability, target = case(torch.float32, LAYOUTS[1], (1, 1, 1, 1, 3))
    compare(outputs, torch.full_like(probability, value), target, SCALARS["total"])


def test_more_parts_than_programs(monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 16)
    monkeypatch.setattr(gradients, "BLOCK", 16)
    monkeypatch.setattr(kernels, "POINTS", 16)
    compare(*case(torch.float32, LAYOUTS[1], (2, 3, 3, 5, 7)), lambda losses: losses[0] * 0.5)


def test_half_precision_keeps_small_gradients():
    (logits, distances), probability, target = case(torch.float16, LAYOUTS[1], (1, 64, 4, 16, 32))
    with forced("triton"):
        loss = LOSS((logits, distances), probability, target).total
        (loss * 2.0**16).backward()
    counted = (distances != 0) & (probability >= 0)
    assert (distances.grad[counted] != 0).all()


def test_no_launch_fuses_multiplications_and_additions(monkeypatch):
    """Triton's versions differ in the default."""
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    run, fused = interpreter.GridExecutor.__call__, []

    def launched(self, *arguments, **options):
        fused.append(options.get("enable_fp_fusion"))
        return run(self, *arguments, **options)

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", launched)
    outputs, probability, target = case(torch.float32, LAYOUTS[0], (1, 2, 1, 2, 3))
    with forced("triton"):
        LOSS(tuple(outputs), probability, target).total.backward()
    assert fused == [False] * 4


def test_true_distances_are_read_in_objects_only():
    """Elsewhere they have no weight: most of the largest array of a training step need not be read."""
    outputs, probability, target = case(torch.float32, LAYOUTS[1])
    unread = torch.where(probability > 0, target, torch.nan)
    with forced("triton"):
        losses = [LOSS(tuple(outputs), probability, truth).total for truth in (target, unread)]
        slopes = [torch.autograd.grad(loss, outputs)[1] for loss in losses]
    assert torch.equal(*losses)
    assert torch.equal(*slopes)


def test_a_loss_is_differentiated_once_and_not_without_need():
    outputs, probability, target = case(torch.float32, LAYOUTS[0], (1, 2, 1, 2, 3))
    with forced("triton"):
        total = LOSS(tuple(outputs), probability, target).total
        total.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="compute it again"):
            total.backward()
        with torch.no_grad():
            assert torch.equal(LOSS(tuple(outputs), probability, target).total, total)


def test_views_are_copied():
    outputs, probability, target = case(torch.float32, LAYOUTS[0], (1, 6, 2, 3, 4))
    distances = outputs[1].detach()[:, ::2]
    compare((outputs[0], distances.requires_grad_()), probability, target[:, ::2], SCALARS["total"])
