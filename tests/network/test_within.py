"""The prediction of a box, slab by slab, is that of the whole image."""

import pytest
import torch

from anystar_torch.network import slabs
from anystar_torch.network.residual_unet import ResidualUNetBackbone
from anystar_torch.network.resnet import ResNetBackbone
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone

BACKBONES = {
    "residual": (ResidualUNetBackbone(widths=(4, 6, 8)), (2, 2, 2)),
    "two blocks, flat kernel": (ResidualUNetBackbone(widths=(4, 6), blocks=2, kernel=(1, 3, 3)), (1, 2, 2)),
    "one level": (ResidualUNetBackbone(widths=(4,)), (2, 2, 2)),
    "even kernel": (UNetBackbone(filters=4, depth=1, batch_norm=False, kernel=(3, 2, 3)), (1, 1, 1)),
    "unet": (UNetBackbone(filters=4, depth=1, batch_norm=True), (2, 2, 2)),
    "resnet": (ResNetBackbone(filters=4, blocks=2, convolutions=2, batch_norm=False), (1, 1, 1)),
}


def network_of(name, features):
    """A network in which no layer is the identity."""
    torch.manual_seed(0)
    backbone, grid = BACKBONES[name]
    network = StarDist(rays=8, grid=grid, features=features, backbone=backbone).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("features", [pytest.param(0, marks=pytest.mark.long), 8])
def test_a_box_in_slabs_is_that_of_the_whole_image(monkeypatch, name, features):
    monkeypatch.setattr(slabs, "_POINTS", 300)
    network = network_of(name, features)
    image = torch.rand(1, 1, 40, 48, 32)
    depth, height, width = (n // g for n, g in zip(image.shape[2:], network.grid, strict=True))
    boxes = [
        ((0, 0, 0), (depth, height, width)),
        ((9, 3, 5), (15, 17, 12)),
        ((depth - 1, 0, 7), (depth, 1, 8)),
    ]
    with torch.inference_mode():
        whole = network(image)
        for low, high in boxes:
            parts = list(network.within(image, (low, high)))
            expected = [
                values[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]] for values in whole
            ]
            planes = [first + k for first, part in parts for k in range(part.probability.shape[2])]
            assert planes == list(range(low[0], high[0]))
            for k in range(2):
                found = torch.cat([part[k] for _, part in parts], 2)
                assert torch.allclose(found, expected[k], rtol=1e-4, atol=1e-5)
    assert len(next(network.within(image, boxes[0], distances=False))[1].distances[0]) == 0


def test_only_what_the_box_needs_is_computed(monkeypatch):
    """The decoder of the first level, which has most grid points, leaves out the rest of the image."""
    network = network_of("residual", 8)
    computed = []
    network.backbone.up[-1].register_forward_hook(
        lambda layer, given, result: computed.append(result[0, 0].numel())
    )
    with torch.inference_mode():
        for _ in network.within(torch.rand(1, 1, 48, 48, 48), ((11, 11, 11), (15, 15, 15))):
            pass
    assert sum(computed) == 10**3  # three grid points on each side, in pairs


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of"):
        next(network_of("residual", 8).within(torch.rand(1, 1, 40, 44, 32), ((0, 0, 0), (1, 1, 1))))
