"""The schedule by hand, and a network that overfits one batch."""

import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.geometry.targets import object_probability, star_distances
from anystar_torch.network import loading, weights
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.module import linear_decay, start_from, warm_start


def rates(steps, **schedule):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = linear_decay(optimizer, **schedule)
    seen = []
    for _ in range(steps):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


def test_decays_linearly_to_zero():
    assert rates(5, total_steps=4, decay_steps=4) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_warms_up_holds_and_decays():
    seen = rates(7, total_steps=6, decay_steps=2, warmup_steps=2)
    assert seen == pytest.approx([0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0])


def test_a_decay_needs_steps():
    with pytest.raises(ValueError, match="at least 1, got 4 and 0"):
        rates(1, total_steps=4, decay_steps=0)


def test_an_untrained_network_predicts_what_it_starts_from():
    torch.manual_seed(0)
    network = StarDist(rays=8, features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=True)).eval()
    start_from(network, probability=0.06, distance=4.0)
    with torch.no_grad():
        prediction = network(torch.zeros(1, 1, 8, 8, 8))
    assert prediction.probability.mean().item() == pytest.approx(0.06, abs=1e-6)
    assert prediction.distances.mean().item() == pytest.approx(4.0, abs=1e-5)


@pytest.fixture
def trained(tmp_path):
    """A small network saved as a model folder, and the folder."""
    torch.manual_seed(1)
    network = StarDist(rays=8, features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=True))
    config = weights.ModelConfig(
        architecture=network.architecture,
        normalisation="anystar",
        diameter_band=(6.0, 13.0, 21.0),
        prob_thresh=0.5,
        nms_thresh=0.3,
    )
    return network, config, tmp_path / "run" / "model"


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("given", ["model folder", "run folder"])
def test_a_warm_start_takes_the_weights_over(trained, dtype, given):
    network, config, folder = trained
    weights.save(folder, network, config, dtype)
    fresh = StarDist(rays=8, features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=True))
    warm_start(fresh, str(folder if given == "model folder" else folder.parent))
    for name, value in fresh.state_dict().items():
        expected = network.state_dict()[name]
        assert torch.equal(value, expected if dtype is None else expected.to(dtype).to(expected.dtype)), name


def test_a_warm_start_from_the_shipped_weights(trained, monkeypatch):
    network, config, folder = trained
    monkeypatch.setattr(loading, "SHIPPED", weights.save(folder, network, config))
    fresh = StarDist(rays=8, features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=True))
    warm_start(fresh, "pretrained")
    assert torch.equal(fresh.distances.weight, network.distances.weight)


def test_a_warm_start_from_another_architecture_says_what_differs(trained):
    network, config, folder = trained
    weights.save(folder, network, config)
    other = StarDist(rays=12, features=8, backbone=UNetBackbone(filters=2, depth=1, batch_norm=True))
    before = other.distances.weight.clone()
    with pytest.raises(
        ValueError, match=r"rays is 8 there and 12 here, backbone\.filters is 4 there and 2"
    ) as error:
        warm_start(other, str(folder))
    assert "\n" not in str(error.value)
    assert torch.equal(other.distances.weight, before)


@pytest.mark.long
def test_one_batch_is_learned_by_heart():
    """Probability to its floor (the entropy of the soft targets), distances to less than a voxel."""
    torch.manual_seed(0)
    sample = load_synthesizer("plain", shape=(16, 16, 16), seed=3)(torch.tensor([1, 2]))
    network = StarDist(
        rays=16, grid=(2, 2, 2), features=16, backbone=UNetBackbone(filters=8, depth=1, batch_norm=True)
    )
    probability = object_probability(sample.labels, network.grid)
    distances = star_distances(sample.labels, network.rays, network.grid)
    assert (probability > 0).any(), "this sample has no objects to learn"
    loss = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
    floor = -(torch.xlogy(probability, probability) + torch.xlogy(1 - probability, 1 - probability)).mean()

    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    scheduler = linear_decay(optimizer, total_steps=300, decay_steps=300)
    seen = []
    for _ in range(300):
        losses = loss(network.logits(sample.image), probability, distances)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        scheduler.step()
        seen.append((losses.probability.item() - floor.item(), losses.distances.item()))
    (first_excess, first_distance), (last_excess, last_distance) = seen[0], seen[-1]
    assert last_excess < first_excess / 20
    assert first_distance > 3
    assert last_distance < 1
