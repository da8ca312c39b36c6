"""Thin volumes that are continued by their mirror images, against a volume that NumPy continued."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anystar_torch import AnyStar
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.network.weights import ModelConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = StarDist(
        rays=8, grid=(2, 2, 2), features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=False)
    ).eval()
    config = ModelConfig(
        architecture=network.architecture,
        normalisation="minmax",
        diameter_band=(5.0, 10.0, 15.0),
        prob_thresh=0.3,
        nms_thresh=0.3,
        receptive_field=(8, 8, 8),
    )
    return AnyStar(network, config, coarse_pass=False)


def expected(model, volume, margin):
    """Probabilities of the grid points of a volume that is continued along z."""
    depth, height, width = volume.shape
    x = intensity_range(volume, "minmax").normalise(torch.from_numpy(volume.astype(np.float32))).numpy()
    around = -depth % 4 + margin, -height % 4, -width % 4
    padded = np.pad(x, ((margin, around[0]), (0, around[1]), (0, around[2])), mode="reflect")
    with torch.no_grad():
        probability = model.network(torch.from_numpy(padded)[None, None]).probability[0, 0]
    points = [slice(0, -(-n // 2)) for n in (height, width)]
    return probability[margin // 2 : margin // 2 + -(-depth // 2), points[0], points[1]].numpy()


@pytest.mark.long
@pytest.mark.parametrize(("smallest", "margin"), [(0, 0), (8, 0), (24, 8), (32, 12)])
def test_thin_volumes_are_continued(model, smallest, margin):
    volume = np.random.default_rng(0).integers(0, 200, (5, 32, 40)).astype(np.uint8)
    thin = AnyStar(model.network, replace(model.config, smallest_tile=smallest), coarse_pass=False)
    found = thin.candidates(volume, diameter=10, prob_thresh=0.0, progress=False)
    wanted = expected(model, volume, margin)
    assert len(found.scores) == wanted.size
    np.testing.assert_allclose(np.sort(found.scores), np.sort(wanted.ravel()), atol=1e-6)
    index = np.rint(found.points / 2).astype(int)
    np.testing.assert_allclose(found.scores, wanted[tuple(index.T)], atol=1e-6)


@pytest.mark.parametrize(("grid", "depth"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_the_margin_is_the_smallest_that_the_network_takes(grid, depth):
    backbone = UNetBackbone(filters=2, depth=depth, batch_norm=False)
    network = StarDist(rays=8, grid=(grid,) * 3, features=2, backbone=backbone)
    tiles = TileNetwork(network, torch.device("cpu"), smallest_tile=30)
    divisor = network.divisor[0]
    for size in range(divisor, 49, divisor):
        margin, _, none = tiles.margin((size, divisor, 64))
        possible = [m for m in range(0, 64, grid) if (size + 2 * m) % divisor == 0 and size + 2 * m >= 30]
        assert margin == possible[0]
        assert none == 0


def test_a_negative_extent_is_refused(model):
    with pytest.raises(ValueError, match="smallest_tile must not be negative, got -1"):
        replace(model.config, smallest_tile=-1)
