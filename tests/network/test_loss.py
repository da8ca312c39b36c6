"""The loss against the values Keras computed with StarDist's own."""

import json

import numpy as np
import pytest
import torch

from anystar_torch.kernels.loss import native_weighted_error, torch_weighted_error
from anystar_torch.network.loss import StarDistLoss, distance_loss, probability_loss
from tests.residency import Residency

MODELS = ["unet_bn_g222", "unet_nobn_g122_d3", "resnet_g122", "resnet_bn_g222"]
WEIGHTS = {"probability_weight": 1.0, "distance_weight": 0.2, "background": 1e-4}


def channels_first(array):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


@pytest.mark.parametrize("model", MODELS)
def test_equals_stardist(shared_data, model):
    folder = shared_data / "parity" / "models" / model
    stored, expected = np.load(folder / "io.npz"), json.loads((folder / "loss.json").read_text())
    probability = channels_first(stored["loss_prob_true"])
    target, mask = channels_first(stored["loss_dist_true_mask"]).split(
        [stored["loss_dist_pred"].shape[-1], 1], 1
    )
    # Keras clips its probabilities in float32; ours never leave the logits, so the test clips for it
    predicted = channels_first(stored["loss_prob_pred"])
    predicted = predicted.clamp(np.float32(1e-7).item(), (np.float32(1) - np.float32(1e-7)).item())
    on_probability = probability_loss(torch.logit(predicted.double()).float(), probability)
    on_distances = distance_loss(channels_first(stored["loss_dist_pred"]), target, mask, 1e-4)
    assert on_probability.item() == pytest.approx(expected["prob_loss"], abs=1e-5)
    assert on_distances.item() == pytest.approx(expected["dist_loss"], abs=1e-5)
    assert (on_probability + 0.2 * on_distances).item() == pytest.approx(expected["loss"], abs=1e-5)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_the_sum_is_weighted_and_the_mask_is_the_probability(weight):
    torch.manual_seed(0)
    probability, target = torch.rand(2, 1, 4, 4, 4), 5 * torch.rand(2, 8, 4, 4, 4)
    logits, distances = torch.randn(2, 1, 4, 4, 4), 5 * torch.rand(2, 8, 4, 4, 4)
    weights = {**WEIGHTS, "probability_weight": weight}
    losses = StarDistLoss(**weights)((logits, distances), probability, target)
    assert losses.distances.item() == pytest.approx(
        distance_loss(distances, target, probability, 1e-4).item()
    )
    parts = weight * losses.probability.item(), 0.2 * losses.distances.item()
    assert losses.total.item() == pytest.approx(sum(parts))


def test_with_autocast_the_cross_entropy_is_computed_in_float32():
    """Logits of bfloat16 have eight bits; the loss of each point has more."""
    torch.manual_seed(0)
    logits, distances = torch.randn(2, 1, 4, 4, 4).bfloat16(), torch.rand(2, 8, 4, 4, 4).bfloat16()
    probability, target = torch.rand(2, 1, 4, 4, 4), torch.rand(2, 8, 4, 4, 4)
    losses = StarDistLoss(**WEIGHTS)((logits, distances), probability, target)
    assert losses.probability.dtype == losses.total.dtype == torch.float32
    expected = torch.nn.functional.binary_cross_entropy(
        torch.sigmoid(logits.double()), probability.double()
    ).item()
    assert losses.probability.item() == pytest.approx(expected, rel=1e-5)


def test_one_voxel_by_hand():
    """One grid point of probability 1 and one of 0: everything can be worked out on paper."""
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    target = torch.tensor([[4.0, 0.0], [2.0, 0.0]]).view(1, 2, 1, 1, 2)
    distances = torch.tensor([[3.0, 5.0], [2.0, -1.0]]).view(1, 2, 1, 1, 2)
    data, pull = (1 + 0) / 2 / 2 / 0.5, (5 + 1) / 2 / 2
    assert distance_loss(distances, target, mask, 0.01).item() == pytest.approx(data + 0.01 * pull)


def test_ignored_points_do_not_count():
    logits = torch.tensor([0.3, 9.0]).view(1, 1, 1, 1, 2)
    target = torch.tensor([1.0, -1.0]).view(1, 1, 1, 1, 2)
    alone = probability_loss(logits[..., :1], target[..., :1])
    assert probability_loss(logits, target).item() == pytest.approx(alone.item())


def test_ignored_points_have_no_gradient():
    torch.manual_seed(0)
    probability = torch.rand(2, 1, 3, 4, 5)
    ignored = torch.rand_like(probability) < 0.4
    probability[ignored] = -1.0
    logits = torch.randn_like(probability, requires_grad=True)
    distances = torch.randn(2, 7, 3, 4, 5, requires_grad=True)
    loss = StarDistLoss(**{**WEIGHTS, "background": 0.1})
    loss((logits, distances), probability, 5 * torch.rand(2, 7, 3, 4, 5)).total.backward()
    assert (logits.grad[ignored] == 0).all()
    assert (distances.grad[ignored.expand_as(distances)] == 0).all()
    assert (distances.grad[~ignored.expand_as(distances)] != 0).all()


def test_a_batch_without_objects_is_finite_and_has_a_gradient():
    logits, distances = (
        torch.zeros(1, 1, 2, 2, 2, requires_grad=True),
        torch.ones(1, 3, 2, 2, 2, requires_grad=True),
    )
    losses = StarDistLoss(**WEIGHTS)(
        (logits, distances), torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2)
    )
    losses.total.backward()
    assert losses.total.isfinite()
    assert distances.grad.abs().sum() > 0


def distances_case(dtype, layout, rays=11):
    """Distances, targets and mask of a small grid; some distances are exact, and some are zero."""
    torch.manual_seed(1)
    target = (5 * torch.rand(2, rays, 5, 3, 7)).to(dtype).float()
    distances = torch.where(torch.rand_like(target) < 0.2, target, 3 * torch.randn_like(target)).to(dtype)
    distances[:, :, 0] = 0.0
    mask = torch.rand(2, 1, 5, 3, 7) * (torch.rand(2, 1, 5, 3, 7) < 0.6)
    return distances.contiguous(memory_format=layout), target, mask


LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_that_of_the_formula(dtype, layout):
    """Against autograd of what the formula says, in float64; bfloat16 has eight bits of it."""
    distances, target, mask = distances_case(dtype, layout)
    exact = distances.double().requires_grad_()
    error = (exact - target).abs().mean(1, keepdim=True) * mask
    pull = exact.abs().mean(1, keepdim=True) * (1 - mask)
    expected = error.mean() / mask.double().mean() + 0.01 * pull.mean()
    (3 * expected).backward()
    distances.requires_grad_()
    loss = distance_loss(distances, target, mask, 0.01)
    (3 * loss).backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert distances.grad.dtype == dtype
    rtol = 1e-5 if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(distances.grad.double(), exact.grad, rtol=rtol, atol=1e-10)
    assert (exact.grad == 0).any(), "where distances are exact, and zero, nothing pulls"


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_implementations_agree(dtype, layout):
    """The gradient bit for bit; the value to rounding of the sum."""
    distances, target, mask = distances_case(dtype, layout)
    weights = (mask / mask.mean(), 1e-4 * (1 - mask))
    total, gradient = native_weighted_error(distances, target, *weights)
    expected_total, expected_gradient = torch_weighted_error(distances, target, *weights)
    assert total.item() == pytest.approx(expected_total.item(), rel=1e-6)
    assert torch.equal(gradient, expected_gradient)
    torch.library.opcheck(torch.ops.anystar.weighted_error.default, (distances, target, *weights))


def test_true_distances_of_background_are_not_read():
    distances, target, mask = distances_case(torch.float32, torch.channels_last_3d)
    mask[1] = 0.0
    weights = mask / mask.mean(), 1 - mask
    expected = native_weighted_error(distances, target, *weights)
    target[1] = torch.nan
    for found, wanted in zip(native_weighted_error(distances, target, *weights), expected, strict=True):
        assert torch.equal(found, wanted)


def test_any_number_of_threads_gives_the_same_bits():
    distances, target, mask = distances_case(torch.bfloat16, torch.channels_last_3d, rays=96)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            found.append(native_weighted_error(distances, target, mask, 1 - mask))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(other, found[0], strict=True))


def test_half_precision_keeps_small_gradients():
    """With float16 the gradient of one voxel of a large volume is far below its smallest number until it is scaled."""
    distances = torch.full((1, 96, 32, 32, 32), 4.0, dtype=torch.float16, requires_grad=True)
    mask = torch.ones(1, 1, 32, 32, 32)
    loss = distance_loss(distances, torch.zeros_like(distances, dtype=torch.float32), mask, 0.0)
    (loss * 2.0**16).backward()
    assert distances.grad[0, 0, 0, 0, 0].item() == pytest.approx(2.0**16 / distances.numel(), rel=1e-3)


def test_stays_on_its_device():
    def empty(channels):
        return torch.empty(2, channels, 4, 4, 4, device="meta")

    with Residency():
        losses = StarDistLoss(**WEIGHTS)((empty(1), empty(8)), empty(1), empty(8))
    assert losses.total.device.type == "meta"
