"""The loss against the values Keras computed with StarDist's own."""

import json

import numpy as np
import pytest
import torch

from anystar_torch.loss import StarDistLoss, distance_loss, probability_loss
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


def test_the_sum_is_weighted_and_the_mask_is_the_probability():
    torch.manual_seed(0)
    probability, target = torch.rand(2, 1, 4, 4, 4), 5 * torch.rand(2, 8, 4, 4, 4)
    logits, distances = torch.randn(2, 1, 4, 4, 4), 5 * torch.rand(2, 8, 4, 4, 4)
    losses = StarDistLoss(**WEIGHTS)((logits, distances), probability, target)
    assert losses.distances.item() == pytest.approx(
        distance_loss(distances, target, probability, 1e-4).item()
    )
    assert losses.total.item() == pytest.approx(losses.probability.item() + 0.2 * losses.distances.item())


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


def test_stays_on_its_device():
    def empty(channels):
        return torch.empty(2, channels, 4, 4, 4, device="meta")

    with Residency():
        losses = StarDistLoss(**WEIGHTS)((empty(1), empty(8)), empty(1), empty(8))
    assert losses.total.device.type == "meta"
