"""The network as one Python file that needs only torch, for packages that run without this one.

The file is assembled from the source of the network's classes, so there is only one definition of the network.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anystar_torch import __version__
from anystar_torch.network import residual_unet, resnet, unet
from anystar_torch.network.stardist import BACKBONES, StarDist

NAME = "StackedStarDist"
_SMALLEST_DISTANCE = 1e-3  # StarDist's: a polyhedron has a volume


class StackedStarDist(nn.Module):
    """StarDist 3D with both heads in one output, channels last, as StarDist's post-processing expects.

    Args:
        rays: number of rays.
        backbone: kind ("unet", "resnet" or "residual_unet") and arguments of the backbone.
        grid: subsampling of the prediction, (z, y, x); powers of two.
        features: channels of the shared convolution before the heads; 0 for none.
        channels: channels of the image.
    """

    def __init__(
        self, *, rays: int, backbone: dict[str, Any], grid: Sequence[int], features: int, channels: int
    ) -> None:
        super().__init__()
        shape: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in backbone.items()}
        body: Any = BACKBONES[shape.pop("kind")](**shape)
        step = (int(grid[0]), int(grid[1]), int(grid[2]))
        width, one = body.outputs(step), (1, 1, 1)
        self.backbone = body.build(channels, step)
        self.features = conv_block(width, features, body.kernel, False) if features else nn.Identity()
        self.probability = convolution(features or width, 1, one)
        self.distances = convolution(features or width, rays, one)

    def forward(self, image: Tensor) -> Tensor:
        """Predict the probability, then distances in voxels.

        Args:
            image: ``[B, C, D, H, W]``, normalised.

        Returns:
            ``[B, d, h, w, 1 + rays]``.
        """
        x = self.features(self.backbone(image))
        outputs = [torch.sigmoid(self.probability(x)), self.distances(x).clamp_min(_SMALLEST_DISTANCE)]
        return torch.cat(outputs, dim=1).permute(0, 2, 3, 4, 1)


convolution, conv_block = unet.convolution, unet.conv_block  # under their names in the file

_COMMON = (unet.OneChannelConvolution, unet.convolution, unet.conv_block)
_PARTS: dict[str, tuple[Any, ...]] = {
    "unet": (
        *_COMMON,
        unet.conv_blocks,
        unet.largest_of_blocks,
        unet.Pooling,
        unet.RectifiedPooling,
        unet.GridStage,
        unet.UNet,
        unet.UNetBackbone,
    ),
    "resnet": (*_COMMON, resnet.StridedConv, resnet.ResidualBlock, resnet.ResNetBackbone),
    "residual_unet": (
        *_COMMON,
        residual_unet.normalised,
        residual_unet.SpaceToDepth,
        residual_unet.PreservingBlock,
        residual_unet.ResidualUNet,
        residual_unet.ResidualUNetBackbone,
    ),
}
# Imports that only one backbone needs.
_IMPORTS = {"unet": "import itertools\n", "resnet": "", "residual_unet": "import itertools\n"}
_HEAD = f'''"""A StarDist 3D network; written by anystar_torch {__version__} (BSD 3-Clause), from its own source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERAS_EPSILON = {unet.KERAS_EPSILON}
KERAS_MOMENTUM = {unet.KERAS_MOMENTUM}
MOMENTUM = {residual_unet.MOMENTUM}
SLAB = {unet.SLAB}
Triple = tuple[int, int, int]
_SMALLEST_DISTANCE = {_SMALLEST_DISTANCE}
'''


def stacked(network: StarDist) -> StackedStarDist:
    """A copy of a network with both outputs in one tensor, on the CPU and in evaluation mode.

    Args:
        network: the network to copy.
    """
    copy = StackedStarDist(**arguments(network))
    copy.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    return copy.eval()


def source(network: StarDist) -> str:
    """The text of the file. Its ``StackedStarDist(**arguments(network))`` loads ``network.state_dict()``.

    Args:
        network: the network that the file defines.
    """
    kind = network.architecture["backbone"]["kind"]
    head = _HEAD.replace("from collections", f"{_IMPORTS[kind]}from collections", 1)
    table = f'BACKBONES = {{"{kind}": {BACKBONES[kind].__name__}}}\n'
    return "\n\n".join(
        [head, *map(inspect.getsource, _PARTS[kind]), table, inspect.getsource(StackedStarDist)]
    )


def arguments(network: StarDist) -> dict[str, Any]:
    """The arguments of the file's class for a network, as JSON values.

    Args:
        network: the network.
    """
    names = ("rays", "backbone", "grid", "features", "channels")
    return {name: network.architecture[name] for name in names}
