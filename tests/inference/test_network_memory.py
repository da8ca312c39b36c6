"""The halo and the memory of a real network, against what it really does."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from anystar_torch.inference import network_memory
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network import loading
from anystar_torch.network.residual_unet import ResidualUNetBackbone
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from tests.inference.scenes import Sees


def small(filters, grid):
    backbone = UNetBackbone(filters=filters, depth=2, batch_norm=True)
    return StarDist(rays=32, grid=grid, features=16, backbone=backbone).eval()


def test_traced_bytes_cover_the_largest_layer_and_do_not_depend_on_values():
    network = small(8, (1, 1, 1)).eval()
    found = network_memory.bytes_per_voxel(network, network.divisor)
    # At full resolution alone: skip and upsampled channels, their concatenation, and the outputs.
    assert found > 4 * (8 + 16 + 24)
    assert found < 4 * 400
    assert network_memory.bytes_per_voxel(network.train().eval(), network.divisor) == found
    wide = small(16, (1, 1, 1)).eval()
    assert network_memory.bytes_per_voxel(wide, wide.divisor) > 1.1 * found


@pytest.mark.long
@pytest.mark.parametrize(
    "backbone", [UNetBackbone(filters=4, depth=2, batch_norm=True), ResidualUNetBackbone(widths=(8, 16))]
)
def test_results_on_meta_take_the_memory_that_torch_gives_them(monkeypatch, backbone):
    network = StarDist(rays=32, grid=(2, 2, 2), features=8, backbone=backbone).eval()

    def counted():
        whole = network_memory.bytes_per_voxel(network, network.divisor)
        return whole, network_memory.bytes_in_parts(network)

    found = counted()
    monkeypatch.setattr(network_memory, "_RESULTS", {})
    assert counted() == found


_PROGRAM = """
import sys
from anystar_torch.inference.network_memory import bytes_in_parts, bytes_per_voxel
from anystar_torch.inference.predictor import AnyStar
network = AnyStar.from_pretrained(sys.argv[1]).network
bytes_in_parts(network), bytes_per_voxel(network, network.divisor)
assert "torch._dynamo" not in sys.modules
"""


@pytest.mark.long
def test_memory_is_counted_without_the_compiler_of_torch():
    """Its import takes longer than everything else before the first tile."""
    subprocess.run([sys.executable, "-c", _PROGRAM, str(loading.SHIPPED)], check=True)


@pytest.mark.long
def test_a_halo_takes_less_memory_where_decoders_leave_it_out():
    backbone = ResidualUNetBackbone(widths=(8, 16))
    network = StarDist(rays=32, grid=(2, 2, 2), features=16, backbone=backbone).eval()
    dense = network_memory.bytes_per_voxel(network, network.divisor)
    inside, outside = network_memory.bytes_in_parts(network)
    assert 4 < outside < inside < dense
    tile_network = TileNetwork(network, torch.device("cpu"))
    assert (tile_network.bytes_per_voxel, tile_network.share_of_halo) == (inside, outside / inside)
    mirrored = TileNetwork(network, torch.device("cpu"), tta=True)
    assert mirrored.bytes_per_voxel > dense
    assert mirrored.share_of_halo == 1


def test_on_a_cpu_channels_are_last():
    """The layout that is asked for; which layers heed it is the library's choice, and differs between CPUs."""
    network = small(4, (2, 2, 2))
    layouts = []
    network.register_forward_pre_hook(lambda layer, given: layouts.append(given[0].stride(1) == 1))
    with torch.inference_mode():
        network(torch.rand(1, 1, 16, 16, 16))  # as the tile comes
    TileNetwork(network, torch.device("cpu")).forward(torch.rand(1, 1, 16, 16, 16))
    assert layouts == [False, True]


@pytest.mark.long
@pytest.mark.parametrize("blur", [1, 3, 6])
def test_the_measured_halo_is_the_receptive_field_of_averaging(blur):
    measured = TileNetwork(Sees(blur=blur).eval(), torch.device("cpu")).halo
    # The response to averaging ends where its field does, and falls to a thousandth a little before.
    assert all(h == blur for h in measured)


@pytest.mark.long
def test_predictions_inside_the_measured_halo_do_not_change():
    torch.manual_seed(0)
    network = small(4, (2, 2, 2)).eval()
    around = TileNetwork(network, torch.device("cpu")).halo
    image = torch.rand(1, 1, 96, 48, 48)
    changed = image.clone()
    changed[..., 48:, :, :] = 0.5
    with torch.inference_mode():
        before, after = network(image).probability, network(changed).probability
    kept = (48 - around[0]) // 2
    change = (before - after).abs().amax(dim=(0, 1, 3, 4)).numpy()
    assert np.max(change[:kept]) < 0.03 * change.max()
