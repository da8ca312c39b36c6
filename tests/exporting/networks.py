"""Small networks for the exporters, in which every weight changes the output and one network finds bright objects.

The first channel of every convolution passes the image on to the probability head and blurs it, so that bright balls
are brightest in the middle. The other channels are random and change distances and probability a little. The network
therefore finds objects in a real volume without training, and a lost weight changes its output.
"""

import re

import torch
from torch import nn

from anystar_torch.network.provenance import Provenance
from anystar_torch.network.residual_unet import ResidualUNetBackbone
from anystar_torch.network.resnet import ResNetBackbone
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.network.weights import ModelConfig
from tests.conftest import ROOT

RADIUS = 5.0


@torch.no_grad()
def randomise(network, seed=0):
    """Biases and statistics that are not those of a fresh network, so that none can be swapped or left out."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor, low in (
                (module.weight, 0.8),
                (module.running_var, 0.8),
                (module.bias, -0.1),
                (module.running_mean, -0.1),
            ):
                tensor.uniform_(low, low + 0.3, generator=generator)
        if isinstance(module, nn.Conv3d) and module.bias is not None:
            module.bias.uniform_(-0.05, 0.05, generator=generator)
    return network.eval()


def unet(**changes):
    """A U-Net of two levels with batch normalisation, predicting on every second plane row and column."""
    torch.manual_seed(0)
    backbone = changes.pop("backbone", UNetBackbone(filters=4, depth=1, batch_norm=True))
    return randomise(
        StarDist(**{"rays": 16, "grid": (1, 2, 2), "features": 8, "backbone": backbone, **changes})
    )


def resnet(**changes):
    torch.manual_seed(0)
    backbone = ResNetBackbone(filters=4, blocks=2, convolutions=2, batch_norm=True)
    return randomise(
        StarDist(**{"rays": 16, "grid": (1, 2, 2), "features": 8, "backbone": backbone, **changes})
    )


def residual_unet(**changes):
    torch.manual_seed(0)
    backbone = ResidualUNetBackbone(widths=(4, 8, 8))
    return randomise(
        StarDist(**{"rays": 16, "grid": (1, 2, 2), "features": 8, "backbone": backbone, **changes})
    )


@torch.no_grad()
def seeing(grid=(1, 2, 2), **changes):
    """A U-Net that takes brightness for probability, and every object for a ball of about RADIUS voxels."""
    network = unet(grid=grid, **changes)
    stage, body = network.backbone
    skip = body.up[-1][0][0].in_channels - body.down[0][-1][0].out_channels
    path = [(module, 0) for module in stage.modules() if isinstance(module, nn.Conv3d)]
    path += [(block[0], 0) for block in body.down[0]]
    path += [(body.up[-1][0][0], skip), (body.up[-1][1][0], 0), (network.features[0], 0)]
    for conv, source in path:
        conv.weight[0] = 0
        conv.weight[0, source] = 1 / 27
        conv.bias[0] = 0
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.weight[0], module.bias[0], module.running_mean[0], module.running_var[0] = 1, 0, 0, 1
    network.probability.weight *= 0.2
    network.probability.weight[0, 0] = 14
    network.probability.bias[0] = -5.7
    network.distances.weight *= 0.5
    network.distances.bias += RADIUS
    return network.eval()


def config(network, **changes):
    """What prediction must know of it."""
    settings = {
        "architecture": network.architecture,
        "normalisation": "percentile",
        "diameter_band": (8.0, 10.0, 12.0),
        "prob_thresh": 0.6,
        "nms_thresh": 0.3,
        "provenance": Provenance(seed=0),
    }
    return ModelConfig(**{**settings, **changes})


def snippet(path):
    """The first Python snippet of docs/export.md that reads the file ``path``."""
    page = (ROOT / "docs" / "export.md").read_text()
    return next(text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f'"{path}"' in text)
