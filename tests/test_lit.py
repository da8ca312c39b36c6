"""The schedule by hand, and a network that overfits one batch."""

import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.lit import linear_decay
from anystar_torch.loss import StarDistLoss
from anystar_torch.stardist import StarDist
from anystar_torch.targets import object_probability, star_distances
from anystar_torch.unet import UNetBackbone


def rates(total, warmup, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = linear_decay(optimizer, total_steps=total, warmup_steps=warmup)
    seen = []
    for _ in range(steps):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


def test_decays_linearly_to_zero():
    assert rates(total=4, warmup=0, steps=5) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_warms_up_first():
    assert rates(total=6, warmup=2, steps=7) == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_one_batch_is_learned_by_heart():
    """The part of the loss above its floor (the entropy of the soft targets) falls tenfold."""
    torch.manual_seed(0)
    sample = load_synthesizer("plain", shape=(24, 24, 24), seed=3)(torch.tensor([1, 2]))
    network = StarDist(
        rays=16, grid=(2, 2, 2), features=16, backbone=UNetBackbone(filters=8, depth=1, batch_norm=True)
    )
    probability = object_probability(sample.labels, network.grid)
    distances = star_distances(sample.labels, network.rays, network.grid)
    assert (probability > 0).any(), "this sample has no objects to learn"
    loss = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
    entropy = -torch.special.xlogy(probability, probability) - torch.special.xlogy(
        1 - probability, 1 - probability
    )
    floor = entropy.mean().item()

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    seen = []
    for _ in range(150):
        losses = loss(network.logits(sample.image), probability, distances)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        seen.append(losses.total.item() - floor)
    assert seen[-1] < seen[0] / 10
