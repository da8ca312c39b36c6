"""The 3D U-Net of StarDist: the same layers, in the same order, with the same initial values.

Follows csbdeep's ``unet_block`` as StarDist configures it. What is not usual in a U-Net and is kept, because weights
must be exchangeable with Keras: the last convolution of every decoder level already halves the width (so the output has
``filters`` channels), up-sampling repeats voxels, and the up-sampled channels come before those of the skip.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERAS_EPSILON = 1e-3
KERAS_MOMENTUM = 0.01  # of the new value; Keras calls the rest, 0.99, the momentum

SLAB = 48  # voxels that the layers before the grid are shown at a time, along z

Triple = tuple[int, int, int]


class OneChannelConvolution(nn.Conv3d):
    """A convolution of one channel; on CPUs computed as one of as many channels as its kernel is wide.

    The channels are the image shifted along x, and the kernel is one voxel wide then: the same products, summed in the
    same order. Libraries lay out their vectors over channels and leave most of each empty where there is one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, D, H, W]`` to ``[B, outputs, D, H, W]``."""
        depth, height, width = self.weight.shape[2:]
        if x.device.type != "cpu" or width == 1 or torch.compiler.is_compiling():
            plain: Tensor = super().forward(x)
            return plain
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        last = 1 in (x.stride(1), self.weight.stride(1))  # how torch tells it where there is one channel
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
    """A convolution that keeps the size, with Keras' initial values (Glorot uniform, zero bias)."""
    layer = (OneChannelConvolution if inputs == 1 else nn.Conv3d)(inputs, outputs, kernel, padding="same")
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def conv_block(inputs: int, outputs: int, kernel: Triple, batch_norm: bool) -> nn.Sequential:
    """Convolution with bias, optional batch normalisation with Keras' constants, ReLU."""
    layers: list[nn.Module] = [convolution(inputs, outputs, kernel)]
    if batch_norm:
        layers.append(nn.BatchNorm3d(outputs, eps=KERAS_EPSILON, momentum=KERAS_MOMENTUM))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def conv_blocks(widths: list[int], kernel: Triple, batch_norm: bool) -> nn.Sequential:
    """A chain of blocks through the given channel counts."""
    return nn.Sequential(*(conv_block(a, b, kernel, batch_norm) for a, b in itertools.pairwise(widths)))


class GridStage(nn.Sequential):
    """What brings the image onto the grid: two convolutions and a pooling for each halving, never normalised.

    These layers work at full resolution, where they would take most of a prediction's memory, and see only a few
    voxels around each: outside of training they are shown a volume slab by slab. Values are the same up to rounding.

    Args:
        grid: subsampling, (z, y, x); for (1, 1, 1) the image passes.
        channels: of the image.
        filters: of every convolution.
        kernel: size of every convolution, (z, y, x).

    Attributes:
        channels: that leave it.
        step: voxels from one point of the grid to the next along z.
        margin: voxels beyond a slab that its values depend on, whole steps.
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
            # the second's ReLU comes after the pooling: the same values, at an eighth of the work
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
    """The largest of each block, in the input's precision.

    Autocast on CPUs would make float32 of it, which changes no value and takes longer. On CUDA the gradient of torch's
    pooling depends on the order of its threads, which a deterministic trainer refuses: there blocks are an axis of
    their own, and equal values share the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]``, each size divided by the block's."""
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return largest_of_blocks(x, self.kernel_size)
        with torch.autocast("cpu", enabled=False):
            pooled: Tensor = super().forward(x)
        return pooled


def largest_of_blocks(x: Tensor, block: int | tuple[int, ...]) -> Tensor:
    """The largest of each block of ``x`` ``[B, C, D, H, W]``; sizes are multiples of the block's."""
    steps = (block,) * 3 if isinstance(block, int) else block
    parts = [part for size, step in zip(x.shape[2:], steps, strict=True) for part in (size // step, step)]
    blocks = x.reshape(*x.shape[:2], *parts)
    # amax needs its result for the gradient, and callers may change this one
    return blocks.amax((3, 5, 7)).clone()


class RectifiedPooling(Pooling):
    """The largest of each block, and 0 where that is negative."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]``, each size divided by the block's."""
        return super().forward(x).relu_()


class UNet(nn.Module):
    """U-Net from ``[B, in_channels, D, H, W]`` to ``[B, filters, D, H, W]``; sizes must be multiples of pool^depth.

    Level n has two convolutions of ``filters * 2^n`` channels; the middle goes to ``filters * 2^depth`` and back to
    ``filters * 2^(depth - 1)``.

    Args:
        in_channels: channels of the input.
        filters: channels of the first level.
        depth: how many times the resolution is reduced.
        kernel: size of every convolution, (z, y, x).
        pool: reduction from one level to the next, (z, y, x).
        batch_norm: whether each convolution is followed by batch normalisation.
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
    """The grid stage and a U-Net: StarDist's backbone "unet".

    Attributes:
        filters: channels of the first level.
        depth: how many times the resolution is reduced after the grid.
        batch_norm: batch normalisation in the U-Net (never in the grid stage).
        kernel: size of every convolution, (z, y, x).
        pool: reduction from one level to the next, (z, y, x).
    """

    kind: ClassVar[str] = "unet"
    filters: int
    depth: int
    batch_norm: bool
    kernel: Triple = (3, 3, 3)
    pool: Triple = (2, 2, 2)

    def build(self, channels: int, grid: Triple) -> nn.Module:
        """The layers from ``[B, channels, D, H, W]`` to ``[B, filters, D/gz, H/gy, W/gx]``."""
        stage = GridStage(grid, channels, self.filters, self.kernel)
        unet = UNet(stage.channels, self.filters, self.depth, self.kernel, self.pool, self.batch_norm)
        return nn.Sequential(stage, unet)

    def outputs(self, grid: Triple) -> int:
        """Channels that leave the backbone."""
        return self.filters

    def divisor(self, grid: Triple) -> Triple:
        """What sizes of the input must be multiples of, (z, y, x)."""
        z, y, x = (g * p**self.depth for g, p in zip(grid, self.pool, strict=True))
        return z, y, x
