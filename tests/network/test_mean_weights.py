"""The mean of weights: of linear layers it computes the mean of what the layers compute."""

import pytest
import torch

from anystar_torch.network.mean_weights import mean_weights


def layers(count, size=3):
    torch.manual_seed(0)
    return [torch.nn.Sequential(torch.nn.Linear(4, size), torch.nn.BatchNorm1d(size)) for _ in range(count)]


@pytest.mark.parametrize("shares", [None, [0.7, 0.2, 0.1]])
def test_a_linear_layer_of_mean_weights_computes_the_mean(shares):
    networks, inputs = layers(3), torch.rand(5, 4)
    mean = layers(1)[0]
    mean.load_state_dict(mean_weights([network.state_dict() for network in networks], shares))
    outputs = torch.stack([network[0](inputs) for network in networks])
    expected = torch.einsum("n,nij->ij", torch.tensor(shares or [1 / 3] * 3), outputs)
    torch.testing.assert_close(mean[0](inputs), expected)


def test_statistics_are_averaged_and_counters_are_those_of_the_last():
    networks = layers(2)
    for count, network in enumerate(networks, 1):
        for _ in range(count):
            network(torch.rand(6, 4))
    states = [network.state_dict() for network in networks]
    mean = mean_weights(states)
    torch.testing.assert_close(
        mean["1.running_var"], (states[0]["1.running_var"] + states[1]["1.running_var"]) / 2
    )
    assert mean["1.num_batches_tracked"] == 2
    assert all(mean[name].dtype == value.dtype for name, value in states[0].items())


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match="same architecture"):
        mean_weights([layers(1)[0].state_dict(), layers(1, size=2)[0].state_dict()])
