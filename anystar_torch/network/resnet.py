"""StarDist's backbone "resnet": residual blocks, the first of which subsample the image to the grid by strides.

It is here for imported networks; StarDist's 3D example uses it. It has no encoder and decoder, so its receptive field
is small.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from anystar_torch.arrays import Triple
from anystar_torch.network.unet import KERAS_EPSILON, KERAS_MOMENTUM


class StridedConv(nn.Conv3d):
    """Strided convolution with TensorFlow's padding "same". Sizes must be multiples of the stride.

    TensorFlow adds an odd voxel of padding after the volume. With a kernel of 3 and a stride of 2 there is no padding
    before the volume and one voxel after it.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size, (z, y, x).
        stride: stride, (z, y, x).
        bias: whether the convolution has a bias.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, bias=bias)
        nn.init.kaiming_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        total = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
        self.margins = [side for t in reversed(total) for side in (t // 2, t - t // 2)]

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, D, H, W]`` to ``[B, outputs, D/sz, H/sy, W/sx]``."""
        return super().forward(F.pad(x, self.margins))


class ResidualBlock(nn.Module):
    """Residual block: the sum of a shortcut and of several convolutions, the first with a stride.

    A ReLU follows each convolution but the last, and the sum.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size, (z, y, x).
        stride: stride of the first convolution and of the shortcut, (z, y, x).
        convolutions: number of convolutions.
        batch_norm: whether a batch normalisation follows each convolution. Then the convolutions have no bias.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple, stride: Triple, convolutions: int, batch_norm: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convolutions):
            step = stride if index == 0 else (1, 1, 1)
            layers.append(
                StridedConv(inputs if index == 0 else outputs, outputs, kernel, step, not batch_norm)
            )
            if batch_norm:
                layers.append(nn.BatchNorm3d(outputs, eps=KERAS_EPSILON, momentum=KERAS_MOMENTUM))
            if index < convolutions - 1:
                layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)
        same = inputs == outputs and stride == (1, 1, 1)
        self.shortcut = (
            nn.Identity() if same else StridedConv(inputs, outputs, (1, 1, 1), stride, not batch_norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, D, H, W]`` to ``[B, outputs, D/sz, H/sy, W/sx]``."""
        return F.relu(self.layers(x) + self.shortcut(x))


@dataclass(frozen=True, kw_only=True)
class ResNetBackbone:
    """StarDist's backbone "resnet": two linear convolutions (kernels of 7 and 3 voxels), then residual blocks.

    Attributes:
        filters: channels of the first convolutions. Every block with a stride doubles them.
        blocks: number of residual blocks.
        convolutions: number of convolutions per block.
        batch_norm: whether the blocks have batch normalisation. Then their convolutions have no bias.
        kernel: kernel size of the blocks, (z, y, x).
    """

    kind: ClassVar[str] = "resnet"
    filters: int
    blocks: int
    convolutions: int
    batch_norm: bool
    kernel: Triple = (3, 3, 3)

    def build(self, channels: int, grid: Triple) -> nn.Module:
        """The layers from ``[B, channels, D, H, W]`` to ``[B, outputs, D/gz, H/gy, W/gx]``.

        Args:
            channels: channels of the image.
            grid: subsampling of the output, (z, y, x).
        """
        one = (1, 1, 1)
        layers: list[nn.Module] = [
            StridedConv(channels, self.filters, (7, 7, 7), one, True),
            StridedConv(self.filters, self.filters, (3, 3, 3), one, True),
        ]
        width = self.filters
        for stride in self._strides(grid):
            inputs, width = width, width if stride == one else 2 * width
            layers.append(
                ResidualBlock(inputs, width, self.kernel, stride, self.convolutions, self.batch_norm)
            )
        return nn.Sequential(*layers)

    def outputs(self, grid: Triple) -> int:
        """Output channels of the backbone on ``grid``.

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        return self.filters << sum(stride != (1, 1, 1) for stride in self._strides(grid))

    def divisor(self, grid: Triple) -> Triple:
        """Divisor of the input sizes on ``grid``, (z, y, x).

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        return grid

    def _strides(self, grid: Triple) -> list[Triple]:
        strides: list[Triple] = []
        pooled = [1, 1, 1]
        for _ in range(self.blocks):
            z, y, x = (2 if g > p else 1 for g, p in zip(grid, pooled, strict=True))
            strides.append((z, y, x))
            pooled = [p * s for p, s in zip(pooled, (z, y, x), strict=True)]
        if tuple(pooled) != tuple(grid):
            raise ValueError(f"{self.blocks} residual blocks cannot reach the grid {grid}; use more blocks")
        return strides
