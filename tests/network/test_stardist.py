"""The network against StarDist's own: layer counts and initial values; its outputs are compared in test_keras.py."""

import json

import pytest
import torch
from torch import nn

from anystar_torch.network import unet
from anystar_torch.network.resnet import ResNetBackbone
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import GridStage, OneChannelConvolution, UNetBackbone, convolution
from tests.residency import Residency

ANYSTAR = {"rays": 96, "grid": (1, 1, 1), "backbone": UNetBackbone(filters=32, depth=5, batch_norm=True)}
SMALL = {"rays": 96, "grid": (2, 2, 2), "backbone": UNetBackbone(filters=16, depth=3, batch_norm=True)}
TINY = {
    "rays": 8,
    "grid": (2, 2, 2),
    "features": 8,
    "backbone": UNetBackbone(filters=4, depth=1, batch_norm=True),
}


def trainable(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "parameters", "statistics"), [(ANYSTAR, 66_162_593, 10_048), (SMALL, 1_106_977, 1_184)]
)
def test_counts_are_keras(arguments, parameters, statistics):
    network = StarDist(**arguments)
    assert trainable(network) == parameters
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert sum(m.running_mean.numel() + m.running_var.numel() for m in norms) == statistics


def test_distances_are_clipped_and_probability_is_one():
    network = StarDist(**TINY).eval()
    image = torch.randn(2, 1, 8, 12, 16)
    with torch.no_grad():
        prediction, (logits, distances) = network(image), network.logits(image)
    assert prediction.probability.shape == (2, 1, 4, 6, 8)
    assert torch.equal(prediction.distances, distances.clamp_min(0))
    assert torch.allclose(prediction.probability, torch.sigmoid(logits))
    assert distances.min() < 0


def test_initial_values_are_glorot_uniform_with_zero_bias():
    network = StarDist(**SMALL)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            taps = module.weight[0, 0].numel()
            bound = (6 / (taps * (module.in_channels + module.out_channels))) ** 0.5
            assert module.weight.abs().max() <= bound * 1.0001
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.25)
            assert not module.bias.any()


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 5, 3), (3, 3, 5), (3, 3, 1)])
def test_one_channel_is_convolved_as_torch_does(kernel):
    torch.manual_seed(0)
    layer = convolution(1, 6, kernel)
    assert isinstance(layer, OneChannelConvolution)
    plain = nn.Conv3d(1, 6, kernel, padding="same")
    plain.load_state_dict(layer.state_dict())
    image = torch.randn(2, 1, 9, 8, 7)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        results = []
        for module in (layer, plain):
            module.zero_grad()
            x = image.to(memory_format=layout).detach().clone().requires_grad_()
            out = module(x)
            out.square().sum().backward()
            results.append((out, x.grad, module.weight.grad, module.bias.grad))
        for ours, torchs in zip(*results, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-4)
        assert layer(image.to(memory_format=layout)).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("grid", [(2, 2, 2), (1, 2, 2), (4, 4, 2)])
def test_slabs_before_the_grid_change_nothing(grid, monkeypatch):
    torch.manual_seed(0)
    stage = GridStage(grid, 1, 3, (3, 3, 3)).eval()
    image = torch.randn(2, 1, 44, 16, 12)
    slabs = []
    stage[0].register_forward_hook(lambda layer, given, out: slabs.append(out.shape[2]))
    with torch.no_grad():
        whole = stage(image)
        monkeypatch.setattr(unet, "SLAB", 12)
        torch.testing.assert_close(stage(image), whole, rtol=1e-5, atol=1e-6)
        assert slabs[0] == 44
        assert len(slabs) == 5
        assert max(slabs[1:]) < 30
        assert torch.equal(stage.train()(image), whole)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\).*got \(8, 9, 8\)"):
        StarDist(**TINY)(torch.zeros(1, 1, 8, 9, 8))


def test_odd_grids_are_refused():
    with pytest.raises(ValueError, match="powers of two"):
        StarDist(**{**TINY, "grid": (1, 3, 1)})


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="images of 1 channel, got 2"):
        StarDist(**TINY)(torch.zeros(1, 2, 8, 8, 8))


@pytest.mark.parametrize(
    "backbone",
    [
        UNetBackbone(filters=4, depth=2, batch_norm=False, pool=(1, 2, 2)),
        ResNetBackbone(filters=4, blocks=2, convolutions=2, batch_norm=True),
    ],
)
def test_the_architecture_makes_the_same_network(backbone):
    network = StarDist(rays=8, backbone=backbone, grid=(1, 2, 2), anisotropy=(2, 1, 1), features=0, classes=2)
    again = StarDist.from_architecture(json.loads(json.dumps(network.architecture)))
    assert again.architecture == network.architecture
    again.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, *(2 * d for d in network.divisor))
    with torch.no_grad():
        assert torch.equal(network.eval()(image).distances, again.eval()(image).distances)


def test_too_few_blocks_for_the_grid_are_refused():
    backbone = ResNetBackbone(filters=4, blocks=1, convolutions=2, batch_norm=True)
    with pytest.raises(ValueError, match="cannot reach the grid"):
        StarDist(rays=8, backbone=backbone, grid=(4, 4, 4))


def test_the_network_stays_on_its_device():
    with torch.device("meta"):
        network = StarDist(**TINY)
    with Residency():
        prediction = network(torch.empty(2, 1, 8, 8, 8, device="meta"))
    assert prediction.probability.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_gpu_agrees_with_cpu():
    network = StarDist(**TINY).eval()
    image = torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        here, there = network(image), network.cuda()(image.cuda())
    assert torch.allclose(here.distances, there.distances.cpu(), atol=1e-2)


@pytest.mark.parametrize("pool", [(2, 2, 2), (1, 2, 2)])
def test_deterministic_pooling_is_the_pooling(pool):
    image = torch.randn(2, 3, 4, 6, 8, requires_grad=True)
    expected = unet.Pooling(pool)(image).relu_()
    found = unet.largest_of_blocks(image, pool).relu_()
    assert torch.equal(found, expected)
    upstream = torch.randn_like(expected)
    gradients = [torch.autograd.grad(result, image, upstream)[0] for result in (expected, found)]
    assert torch.equal(*gradients)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_deterministic_gpu_trains_the_network():
    network = StarDist(**TINY).cuda()
    torch.use_deterministic_algorithms(True)
    try:
        sum(part.sum() for part in network.logits(torch.randn(2, 1, 16, 16, 16, device="cuda"))).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
