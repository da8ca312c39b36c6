"""The network against StarDist's own: layer counts, stored weights and outputs of Keras models."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from anystar_torch import keras
from anystar_torch.stardist import StarDist
from tests.residency import Residency

ANYSTAR = {"rays": 96, "grid": (1, 1, 1), "filters": 32, "depth": 5}
SMALL = {"rays": 96, "grid": (2, 2, 2), "filters": 16, "depth": 3}
TINY = {"rays": 8, "grid": (2, 2, 2), "filters": 4, "depth": 1, "features": 8}


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


@pytest.mark.parametrize("model", ["unet_bn_g222", "unet_nobn_g122_d3"])
@pytest.mark.parametrize("file", ["weights_best.h5", "weights_keras2.h5", "weights_keras3.weights.h5"])
def test_outputs_equal_keras(shared_data, model, file):
    folder = shared_data / "parity" / "models" / model
    network = StarDist(**keras.architecture(json.loads((folder / "config.json").read_text()))).eval()
    keras.load_weights(network, folder / file)
    stored = np.load(folder / "io.npz")
    image = torch.from_numpy(stored["x"][..., 0])[:, None]
    with torch.no_grad():
        logits, distances = network.logits(image)
    expected = torch.from_numpy(stored["dist"]).movedim(-1, 1)
    assert (distances - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (torch.sigmoid(logits) - torch.from_numpy(stored["prob"]).movedim(-1, 1)).abs().max() <= 1e-5


@pytest.mark.parametrize("model", ["resnet_g122", "unet_bn_g111_pool122_c2"])
def test_what_cannot_be_expressed_is_refused_in_one_line(shared_data, model):
    with pytest.raises(ValueError, match="this StarDist model has") as error:
        keras.load_stardist(shared_data / "parity" / "models" / model)
    assert "\n" not in str(error.value)


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


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\).*got \(8, 9, 8\)"):
        StarDist(**TINY)(torch.zeros(1, 1, 8, 9, 8))


def test_odd_grids_are_refused():
    with pytest.raises(ValueError, match="powers of two"):
        StarDist(rays=8, grid=(1, 3, 1))


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
