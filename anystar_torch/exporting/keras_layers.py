"""The network as a list of Keras layers, with their names, order and arrays.

Keras loads weights by the order of layers, which is sorted by their distance from the output. Names are those of
StarDist, or those that Keras gives in a new session (``conv3d``, ``conv3d_1``, ...).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from anystar_torch.network.keras_import import PARAMETERS
from anystar_torch.network.resnet import ResidualBlock
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNet


@dataclass(frozen=True)
class Layer:
    """A layer of the Keras model.

    Attributes:
        name: in the weights file.
        module: the module with its weights; None for a layer without weights.
    """

    name: str
    module: nn.Module | None = None


class _Names:
    """Numbers the names of layers by class, as Keras does."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()

    def __call__(self, kind: str) -> str:
        index = self.used[kind]
        self.used[kind] += 1
        return f"{kind}_{index}" if index else kind


def layers(network: StarDist) -> list[Layer]:
    """The layers of the Keras model, in the order of its weights file.

    Args:
        network: to be exported.

    Raises:
        ValueError: StarDist's networks have no such layer; the message names it.
    """
    auto = _Names()
    backbone: Any = network.backbone
    body = _unet(backbone, auto) if isinstance(backbone[-1], UNet) else _resnet(backbone, auto)
    found = [Layer("input"), *body, *_heads(network)]
    placed = {id(module) for layer in found if layer.module is not None for module in (layer.module,)}
    for name, module in network.named_modules():
        if id(module) not in placed and next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"keras cannot express the layer {name} of this network, because StarDist has no such layer"
            )
    return found


def values(layer: Layer) -> dict[str, NDArray[np.float32]]:
    """The weights of a layer by their Keras names, with axes in Keras' order (z, y, x, in, out).

    Args:
        layer: a layer of the network, with or without weights.
    """
    if layer.module is None:
        return {}
    kernel = isinstance(layer.module, nn.Conv3d)
    found = {}
    for theirs in ("kernel", "bias") if kernel else ("gamma", "beta", "moving_mean", "moving_variance"):
        tensor = getattr(layer.module, PARAMETERS[theirs])
        if tensor is not None:
            array = tensor.detach().cpu().float().numpy()
            found[theirs] = np.ascontiguousarray(
                array.transpose(2, 3, 4, 1, 0) if theirs == "kernel" else array
            )
    return found


def _unet(backbone: Any, auto: _Names) -> Iterator[Layer]:
    """The layers of a U-Net."""
    stage, unet = backbone
    for part in stage:
        if isinstance(part, nn.MaxPool3d):
            yield Layer(auto("max_pooling3d"))
        else:
            for block in part:
                yield Layer(auto("conv3d"), block[0])
    for level, blocks in enumerate(unet.down):
        for index, block in enumerate(blocks):
            yield from _block(f"down_level_{level}_no_{index}", block, auto)
        yield Layer(f"max_{level}")
    for index, block in enumerate(unet.middle):
        yield from _block(f"middle_{2 * index}", block, auto)
    for level, blocks in zip(reversed(range(len(unet.up))), unet.up, strict=True):
        yield Layer(auto("up_sampling3d"))
        yield Layer(auto("concatenate"))
        for index, block in enumerate(blocks):
            yield from _block(f"up_level_{level}_no_{2 * index}", block, auto)


def _block(name: str, block: nn.Sequential, auto: _Names) -> Iterator[Layer]:
    """The layers of a convolution. With batch normalisation the ReLU is a separate layer."""
    yield Layer(name, block[0])
    if isinstance(block[1], nn.BatchNorm3d):
        yield Layer(auto("batch_normalization"), block[1])
        yield Layer(auto("activation"))


def _resnet(backbone: Any, auto: _Names) -> Iterator[Layer]:
    """The layers of a residual backbone."""
    for part in backbone:
        if isinstance(part, ResidualBlock):
            yield from _residual(part, auto)
        else:
            yield Layer(auto("conv3d"), part)


def _residual(block: ResidualBlock, auto: _Names) -> Iterator[Layer]:
    """The layers of a residual block."""
    kinds = {nn.BatchNorm3d: "batch_normalization", nn.ReLU: "activation"}
    chain = [
        Layer(auto(kinds.get(type(module), "conv3d")), None if isinstance(module, nn.ReLU) else module)
        for module in block.layers
    ]
    if not isinstance(block.shortcut, nn.Identity):
        # It has the same distance from the output as the last layer of the chain, and Keras reaches it first.
        chain.insert(len(chain) - 1, Layer(auto("conv3d"), block.shortcut))
    yield from chain
    yield Layer(auto("add"))
    yield Layer(auto("activation"))


def _heads(network: StarDist) -> Iterator[Layer]:
    """The layers after the backbone."""
    shared = [("features", network.features)]
    if network.classes:
        shared.append(("features_class", network.class_features))
    for name, block in shared:
        if isinstance(block, nn.Sequential):
            yield Layer(name, block[0])
    yield Layer("prob", network.probability)
    yield Layer("dist", network.distances)
    if network.classes:
        yield Layer("prob_class", network.class_logits)
