"""StarDist's 3D U-Net: the same layers in the same order with the same initial values.

It follows csbdeep's ``unet_block`` with StarDist's settings, so weights can be exchanged with Keras. Three details are
unusual for a U-Net. The last convolution of every decoder level halves the width, so the output has ``filters``
channels. Up-sampling repeats voxels. The up-sampled channels precede those of the skip connection.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anystar_torch.arrays import Triple

KERAS_EPSILON = 1e-3
KERAS_MOMENTUM = 0.01  # weight of the new value; Keras calls the rest, 0.99, the momentum

SLAB = 48
"""Thickness of the slabs that the layers before the grid process outside of training, voxels along z."""


class OneChannelConvolution(nn.Conv3d):
    """Convolution of a single channel. On CPUs it is computed with as many channels as its kernel is wide.

    These channels are copies of the image, shifted along x, and the kernel has a width of one voxel. Products and
    order of summation are the same. Libraries vectorise over channels, which is slow for a single channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, D, H, W]`` to ``[B, outputs, D, H, W]``."""
        depth, height, width = self.weight.shape[2:]
        if x.device.type != "cpu" or width == 1 or torch.compiler.is_compiling():
            plain: Tensor = super().forward(x)
            return plain
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        last = 1 in (x.stride(1), self.weight.stride(1))  # the sign of channels last for a single channel
        layout = torch.channels_last_3d if last else torch.contiguous_format
        before = (width - 1) // 2
        padded = F.pad(x, (before, width - 1 - before))
        shifted = torch.cat([padded[..., k : k + x.shape[-1]] for k in range(width)], dim=1)
        stacked = self.weight.movedim(-1, 1).reshape(-1, width, depth, height, 1)
        return F.conv3d(
            shifted.contiguous(memory_format=layout),
            stacked.contiguous(memory_format=layout),
            self.bias,
            padding="same",
        )


def convolution(inputs: int, outputs: int, kernel: Triple) -> nn.Conv3d:
    """A convolution that keeps the size, with Keras' initial values (Glorot uniform, zero bias).

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size, (z, y, x).
    """
    layer = (OneChannelConvolution if inputs == 1 else nn.Conv3d)(inputs, outputs, kernel, padding="same")
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def conv_block(inputs: int, outputs: int, kernel: Triple, batch_norm: bool) -> nn.Sequential:
    """A convolution with bias, a batch normalisation with Keras' constants, and a ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size, (z, y, x).
        batch_norm: whether there is a batch normalisation.
    """
    layers: list[nn.Module] = [convolution(inputs, outputs, kernel)]
    if batch_norm:
        layers.append(nn.BatchNorm3d(outputs, eps=KERAS_EPSILON, momentum=KERAS_MOMENTUM))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def conv_blocks(widths: list[int], kernel: Triple, batch_norm: bool) -> nn.Sequential:
    """A sequence of :func:`conv_block`.

    Args:
        widths: channels before the first block and after each block.
        kernel: kernel size, (z, y, x).
        batch_norm: whether the blocks have a batch normalisation.
    """
    return nn.Sequential(*(conv_block(a, b, kernel, batch_norm) for a, b in itertools.pairwise(widths)))


class GridStage(nn.Sequential):
    """Layers that subsample the image to the grid: two convolutions and a pooling for each factor of 2.

    They have no batch normalisation. At full resolution they would need most of the memory of a prediction, and their
    receptive field is small. Therefore, outside of training, they process a volume slab by slab. The result is the same
    up to rounding.

    Args:
        grid: subsampling, (z, y, x). With (1, 1, 1) the stage has no layers.
        channels: channels of the image.
        filters: channels of every convolution.
        kernel: kernel size, (z, y, x).

    Attributes:
        channels: output channels.
        step: distance of grid points along z, voxels.
        margin: receptive field beyond a slab along z, voxels, a multiple of ``step``.
    """

    def __init__(self, grid: Triple, channels: int, filters: int, kernel: Triple) -> None:
        layers: list[nn.Module] = []
        pooled, margin = [1, 1, 1], 0
        while tuple(pooled) != tuple(grid):
            pool = tuple(2 if g > p else 1 for g, p in zip(grid, pooled, strict=True))
            first, second = (
                conv_block(channels, filters, kernel, False),
                convolution(filters, filters, kernel),
            )
            # The second ReLU follows the pooling. The values are the same, and it has an eighth of the work.
            layers += [nn.Sequential(first, nn.Sequential(second)), RectifiedPooling(pool)]
            margin += 2 * (kernel[0] // 2) * pooled[0]
            pooled = [p * q for p, q in zip(pooled, pool, strict=True)]
            channels = filters
        super().__init__(*layers)
        self.channels, self.step = channels, pooled[0]
        self.margin = -(-margin // self.step) * self.step

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` to ``[B, filters, D/gz, H/gy, W/gx]``."""
        depth, thickness = x.shape[2], SLAB // self.step * self.step
        if self.training or not len(self) or torch.compiler.is_compiling() or depth <= thickness:
            return self._all(x)
        slabs = []
        for start in range(0, depth, thickness):
            stop, first = min(start + thickness, depth), max(start - self.margin, 0)
            seen = self._all(x[:, :, first : stop + self.margin])
            slabs.append(seen[:, :, (start - first) // self.step : (stop - first) // self.step].clone())
        return torch.cat(slabs, dim=2)

    def _all(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


class Pooling(nn.MaxPool3d):
    """Max pooling in the precision of the input.

    Autocast on CPUs would convert to float32, which is slower and changes no value. On CUDA the gradient of PyTorch's
    pooling depends on the order of its threads. For deterministic training the maximum is therefore taken over separate
    axes, where equal values share the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` to ``[B, C, D/bz, H/by, W/bx]`` for blocks of (bz, by, bx) voxels."""
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return largest_of_blocks(x, self.kernel_size)
        with torch.autocast("cpu", enabled=False):
            pooled: Tensor = super().forward(x)
        return pooled


def largest_of_blocks(x: Tensor, block: int | tuple[int, ...]) -> Tensor:
    """Maximum of every block, ``[B, C, D/bz, H/by, W/bx]``.

    Args:
        x: ``[B, C, D, H, W]``; sizes are multiples of those of the block.
        block: size of a block (bz, by, bx), or one number for all axes.
    """
    steps = (block,) * 3 if isinstance(block, int) else block
    parts = [part for size, step in zip(x.shape[2:], steps, strict=True) for part in (size // step, step)]
    blocks = x.reshape(*x.shape[:2], *parts)
    # amax keeps its result for the gradient, and callers may change the tensor they get
    return blocks.amax((3, 5, 7)).clone()


class RectifiedPooling(Pooling):
    """Max pooling followed by a ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` to ``[B, C, D/bz, H/by, W/bx]`` for blocks of (bz, by, bx) voxels."""
        return super().forward(x).relu_()


class UNet(nn.Module):
    """U-Net. Sizes of the input must be multiples of pool^depth.

    Level n has two convolutions with ``filters * 2^n`` channels. The two convolutions of the lowest level have
    ``filters * 2^depth`` and ``filters * 2^(depth - 1)`` channels.

    Args:
        in_channels: input channels.
        filters: channels of the first level.
        depth: number of poolings.
        kernel: kernel size, (z, y, x).
        pool: pooling from one level to the next, (z, y, x).
        batch_norm: whether a batch normalisation follows each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int = 32,
        depth: int = 2,
        kernel: Triple = (3, 3, 3),
        pool: Triple = (2, 2, 2),
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(depth + 1)]
        inputs = [in_channels, *widths[: depth - 1]]
        self.down = nn.ModuleList(
            conv_blocks([before, width, width], kernel, batch_norm)
            for before, width in zip(inputs, widths[:depth], strict=True)
        )
        self.middle = conv_blocks([widths[depth - 1], widths[depth], widths[depth - 1]], kernel, batch_norm)
        self.up = nn.ModuleList(
            conv_blocks([2 * widths[n], widths[n], widths[max(0, n - 1)]], kernel, batch_norm)
            for n in reversed(range(depth))
        )
        self.pool = Pooling(pool)
        self.upsample = nn.Upsample(scale_factor=tuple(float(p) for p in pool), mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, D, H, W]`` to ``[B, filters, D, H, W]``."""
        skips = []
        for level in self.down:
            skips.append(level(x))
            x = self.pool(skips[-1])
        x = self.middle(x)
        for level in self.up:
            x = level(torch.cat([self.upsample(x), skips.pop()], dim=1))
        return x


@dataclass(frozen=True, kw_only=True)
class UNetBackbone:
    """StarDist's backbone "unet": the grid stage and a U-Net.

    Attributes:
        filters: channels of the first level.
        depth: number of poolings after the grid stage.
        batch_norm: whether the U-Net has batch normalisation. The grid stage has none.
        kernel: kernel size, (z, y, x).
        pool: pooling from one level to the next, (z, y, x).
    """

    kind: ClassVar[str] = "unet"
    filters: int
    depth: int
    batch_norm: bool
    kernel: Triple = (3, 3, 3)
    pool: Triple = (2, 2, 2)

    def build(self, channels: int, grid: Triple) -> nn.Module:
        """The layers from ``[B, channels, D, H, W]`` to ``[B, filters, D/gz, H/gy, W/gx]``.

        Args:
            channels: channels of the image.
            grid: subsampling of the output, (z, y, x).
        """
        stage = GridStage(grid, channels, self.filters, self.kernel)
        unet = UNet(stage.channels, self.filters, self.depth, self.kernel, self.pool, self.batch_norm)
        return nn.Sequential(stage, unet)

    def outputs(self, grid: Triple) -> int:
        """Output channels of the backbone on ``grid``.

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        return self.filters

    def divisor(self, grid: Triple) -> Triple:
        """Divisor of the input sizes on ``grid``, (z, y, x).

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        z, y, x = (g * p**self.depth for g, p in zip(grid, self.pool, strict=True))
        return z, y, x
