"""How a volume is cut for workers: a volume larger than a block gives work to at least two of them."""

import pytest
import torch

from anystar_torch.distributed import preparation
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import cut_volume
from tests.distributed.cases import small_network


@pytest.mark.parametrize(
    ("block", "reach", "least", "most"),
    [
        (32, 8, 2, 100),  # larger than a block
        (64, 8, 1, 1),  # as large as a block
        (32, 31, 1, 1),  # half of it has no room for the halo
    ],
)
def test_a_volume_larger_than_a_block_has_at_least_two_tiles(monkeypatch, block, reach, least, most):
    monkeypatch.setattr(preparation, "BLOCK", block)
    shape = (64, 64, 64)
    network = TileNetwork(small_network(), torch.device("cpu"), receptive_field=(reach,) * 3)
    layout = preparation._layout(shape, network, TileOptions(), 1e9)
    tiles = cut_volume(shape, network.network.divisor, layout.size, layout.halo)
    assert least <= len(tiles) <= most
