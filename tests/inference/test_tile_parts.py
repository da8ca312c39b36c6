"""Tiles in parts: the candidates and probabilities are those of whole tiles."""

import numpy as np
import pytest
import torch

from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile, cut_volume
from anystar_torch.network import slabs
from anystar_torch.network.residual_unet import ResidualUNetBackbone
from anystar_torch.network.stardist import StarDist

SHAPE = (29, 50, 41)


@pytest.fixture
def ways(monkeypatch):
    """A network that predicts tiles in parts, and the same that predicts whole tiles."""
    monkeypatch.setattr(slabs, "_POINTS", 400)
    torch.manual_seed(0)
    network = StarDist(rays=8, grid=(2, 2, 2), features=8, backbone=ResidualUNetBackbone(widths=(4, 6, 8)))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    in_parts, whole = (
        TileNetwork(network.eval(), torch.device("cpu"), receptive_field=(8, 8, 8), smallest_tile=40)
        for _ in range(2)
    )
    assert in_parts.in_parts
    whole.__dict__["in_parts"] = False
    return in_parts, whole


@pytest.fixture
def volume(ways):
    voxels = np.random.default_rng(0).random(SHAPE, np.float32)
    scaling = Scaling.of(SHAPE, (1.0, 1.0, 1.0), 10.0, 10.0, ways[0].network.rays)
    return ResampledVolume(voxels, scaling, IntensityRange(0.0, 1.0, True))


@pytest.mark.long
def test_candidates_and_probabilities_are_those_of_whole_tiles(ways, volume):
    tiles = cut_volume(SHAPE, (8, 8, 8), (32, 32, 32), (8, 8, 8))
    assert len(tiles) > 4
    for tile in tiles:
        (found, finite), (expected, _) = (one.start(volume, [tile], 0.5)() for one in ways)
        assert finite
        assert len(found) == 1
        for mine, theirs in zip(found[0], expected[0], strict=True):
            assert len(mine) == len(theirs) > 0
            assert np.allclose(mine, theirs, rtol=2e-3, atol=1e-4)
        pictures = []
        for one in ways:
            parts, finite = one.start_probability(volume, [tile])()
            assert finite
            pictures.append(np.full([-(-n // 2) for n in SHAPE], np.nan, np.float32))
            for part in parts:
                pictures[-1][part.place] = part.values
        assert np.allclose(*pictures, atol=1e-4, equal_nan=True)
        assert np.isfinite(pictures[0]).any()


def test_a_tile_beyond_the_volume_has_nothing(ways, volume):
    beyond = Tile((0, 0, 0), (32, 32, 32), (30, 0, 0), (32, 32, 32))  # the volume has 29 planes
    for one in ways:
        [found], finite = one.start(volume, [beyond], 0.5)()
        assert (len(found.points), found.distances.shape, finite) == (0, (0, 8), True)
        [part], finite = one.start_probability(volume, [beyond])()
        assert part.values.size == 0
        assert finite
