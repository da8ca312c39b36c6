"""The residual U-Net behind a space-to-depth stem."""

import json

import pytest
import torch
from torch import nn

from anystar_torch.exporting import keras
from anystar_torch.network import weights
from anystar_torch.network.residual_unet import PreservingBlock, ResidualUNetBackbone, SpaceToDepth
from anystar_torch.network.stardist import StarDist
from tests.conftest import ROOT
from tests.exporting.networks import config, residual_unet
from tests.residency import Residency


def small(**changes):
    backbone = ResidualUNetBackbone(widths=(4, 8, 8))
    return StarDist(**{"rays": 8, "grid": (2, 2, 2), "features": 8, "backbone": backbone, **changes})


@pytest.mark.parametrize(
    ("grid", "divisor"), [((1, 1, 1), (4, 4, 4)), ((2, 2, 2), (8, 8, 8)), ((1, 2, 4), (4, 8, 16))]
)
def test_shapes_and_divisor(grid, divisor):
    network = small(grid=grid, channels=2).eval()
    assert network.divisor == divisor
    shape = tuple(2 * d for d in divisor)
    with torch.no_grad():
        prediction = network(torch.randn(2, 2, *shape))
    points = tuple(n // g for n, g in zip(shape, grid, strict=True))
    assert prediction.probability.shape == (2, 1, *points)
    assert prediction.distances.shape == (2, 8, *points)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("grid", [(2, 2, 2), (1, 2, 4)])
def test_space_to_depth_keeps_every_voxel_in_its_cell(grid, channels):
    image = torch.arange(2 * channels * 8 * 8 * 8.0).view(2, channels, 8, 8, 8)
    cells = SpaceToDepth(grid)(image)
    gz, gy, gx = grid
    assert cells.shape == (2, gz * gy * gx * channels, 8 // gz, 8 // gy, 8 // gx)
    assert cells.is_contiguous(memory_format=torch.channels_last_3d)
    found = cells[1, :, 1, 2, 1].sort().values
    part = image[1, :, gz : 2 * gz, 2 * gy : 3 * gy, gx : 2 * gx]
    assert torch.equal(found, part.flatten().sort().values)
    assert torch.equal(SpaceToDepth(grid)(image.to(memory_format=torch.channels_last_3d)), cells)


def test_an_untrained_block_passes_what_is_positive():
    x = torch.rand(2, 4, 6, 6, 6)
    assert torch.equal(PreservingBlock(4, (3, 3, 3))(x.clone()), x)


def test_every_weight_gets_a_gradient():
    network = small()
    for module in network.modules():
        if isinstance(module, PreservingBlock):
            nn.init.ones_(module.second[1].weight)
    probability, distances = network.logits(torch.randn(2, 1, 16, 16, 16))
    (probability.square().mean() + distances.square().mean()).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_the_receptive_field_reaches_as_far_as_the_models_file_says():
    backbone = ResidualUNetBackbone(widths=(1, 1, 1, 1))
    network = StarDist(rays=8, grid=(2, 2, 2), features=1, backbone=backbone).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                module.weight.fill_(1.0)
            elif isinstance(module, nn.BatchNorm3d):
                module.weight.fill_(1e-2)
    image = torch.ones(1, 1, 256, 16, 16, requires_grad=True)
    network.logits(image)[0][0, 0, 64, 4, 4].backward()
    seen = image.grad[0, 0].abs().sum((1, 2)).nonzero()[:, 0]
    assert 75 <= (int(seen.max()) - int(seen.min())) / 2 <= 100


def test_light_has_the_parameters_that_its_file_states():
    network = StarDist.from_architecture(
        {
            "rays": 96,
            "grid": [2, 2, 2],
            "features": 64,
            "backbone": {"kind": "residual_unet", "widths": [32, 64, 128, 256]},
        }
    )
    count = sum(p.numel() for p in network.parameters())
    assert f"{count:,} trainable parameters" in (ROOT / "configs" / "model" / "light.yaml").read_text()


def test_the_architecture_makes_the_same_network(tmp_path):
    network = residual_unet(channels=1)
    again = StarDist.from_architecture(json.loads(json.dumps(network.architecture)))
    assert again.architecture == network.architecture
    weights.save(tmp_path / "model", network, config(network))
    loaded, _ = weights.load(tmp_path / "model")
    image = torch.randn(1, 1, *(2 * d for d in network.divisor))
    with torch.no_grad():
        assert torch.equal(network(image).distances, loaded(image).distances)


@pytest.mark.parametrize("changes", [{"widths": ()}, {"widths": (4, 0)}, {"widths": (4,), "blocks": 0}])
def test_impossible_numbers_are_refused(changes):
    with pytest.raises(ValueError, match="widths must have at least one level"):
        ResidualUNetBackbone(**changes)


def test_the_network_stays_on_its_device():
    with torch.device("meta"):
        network = small()
    with Residency():
        prediction = network(torch.empty(2, 1, 8, 8, 8, device="meta"))
    assert prediction.probability.device.type == "meta"


def test_keras_refuses_it_in_one_line():
    with pytest.raises(ValueError, match="'residual_unet'") as error:
        keras.stardist_config(residual_unet())
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_torch_exports_it(tmp_path):
    network = residual_unet()
    image = torch.randn(1, 1, 8, 16, 16)
    program = torch.export.export(network, (image,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image).distances, network(image).distances)
