"""A residual U-Net whose layers all work at the resolution of the grid or below. StarDist has no such network.

With a grid of 2, StarDist's U-Net needs 40 % of its multiplications for two convolutions at full resolution. Here a
space-to-depth rearrangement comes first: the voxels of each grid cell become channels (the inverse of the sub-pixel
shuffle of Shi et al. 2016).

Levels have residual blocks (He et al. 2016). Between levels there are convolutions with stride 2 in the encoder and
transposed convolutions in the decoder. Skip connections are added and not concatenated, which halves the first
convolution of each decoder level. The first level has no encoder block, which would need a quarter of the operations of
the network.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from anystar_torch.arrays import Triple
from anystar_torch.network.unet import KERAS_EPSILON

MOMENTUM = 0.02
"""Weight of the new value in the running statistics. Short trainings have a few thousand steps."""


def normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    """A convolution followed by batch normalisation.

    Args:
        layer: a convolution without bias.
        channels: its output channels.
    """
    return nn.Sequential(layer, nn.BatchNorm3d(channels, eps=KERAS_EPSILON, momentum=MOMENTUM))


class SpaceToDepth(nn.Module):
    """Rearrangement of the voxels of each grid cell into channels.

    Args:
        grid: size of a cell, (z, y, x), voxels.
    """

    def __init__(self, grid: Triple) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` to ``[B, gz * gy * gx * C, D/gz, H/gy, W/gx]``, channels last in memory."""
        gz, gy, gx = self.grid
        batch, channels, depth, height, width = x.shape
        cells = x.reshape(batch, channels, depth // gz, gz, height // gy, gy, width // gx, gx)
        last = cells.permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(
            batch, depth // gz, height // gy, width // gx, gz * gy * gx * channels
        )
        return last.permute(0, 4, 1, 2, 3)


class PreservingBlock(nn.Module):
    """Residual block of constant width: ``relu(x + norm(conv(relu(norm(conv(x))))))``.

    The scale of the last normalisation is initially 0, so an untrained block is the identity (Goyal et al. 2017).

    Args:
        width: input and output channels.
        kernel: kernel size, (z, y, x).
    """

    def __init__(self, width: int, kernel: Triple) -> None:
        super().__init__()
        self.first, self.second = (
            normalised(nn.Conv3d(width, width, kernel, padding="same", bias=False), width) for _ in range(2)
        )
        last = self.second[1]
        assert isinstance(last, nn.BatchNorm3d)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, width, D, H, W]``, the same shape."""
        changed: Tensor = self.second(F.relu(self.first(x), inplace=True))
        return changed.add_(x).relu_()


class ResidualUNet(nn.Module):
    """Residual U-Net on the grid. Sizes of the input must be multiples of grid * 2^(levels - 1).

    Args:
        channels: channels of the image.
        grid: subsampling of the output, (z, y, x).
        widths: channels of each level. The first level is the grid; each further one has half the resolution.
        blocks: residual blocks per level, in the encoder (but not at the first level) and in the decoder.
        kernel: kernel size of the residual blocks, (z, y, x).
    """

    def __init__(
        self, channels: int, grid: Triple, widths: Sequence[int], blocks: int, kernel: Triple
    ) -> None:
        super().__init__()
        self.grid, self.kernel = grid, kernel
        cell = grid[0] * grid[1] * grid[2] * channels
        stem = nn.Conv3d(cell, widths[0], kernel, padding="same", bias=False)
        self.stem = nn.Sequential(SpaceToDepth(grid), *normalised(stem, widths[0]), nn.ReLU(inplace=True))

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*(PreservingBlock(width, kernel) for _ in range(blocks)))

        pairs = list(itertools.pairwise(widths))
        self.encoders = nn.ModuleList(level(width) for width in widths[1:])
        self.down = nn.ModuleList(
            normalised(nn.Conv3d(fine, coarse, 2, stride=2, bias=False), coarse) for fine, coarse in pairs
        )
        self.up = nn.ModuleList(
            normalised(nn.ConvTranspose3d(coarse, fine, 2, stride=2, bias=False), fine)
            for fine, coarse in reversed(pairs)
        )
        self.decoders = nn.ModuleList(level(width) for width in reversed(widths[:-1]))
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, D, H, W]`` to ``[B, widths[0], D/gz, H/gy, W/gx]``."""
        x = self.stem(x)
        skips = []
        for down, encoder in zip(self.down, self.encoders, strict=True):
            skips.append(x)
            x = encoder(F.relu(down(x), inplace=True))
        for up, decoder in zip(self.up, self.decoders, strict=True):
            x = decoder(up(x).add_(skips.pop()).relu_())
        return x


@dataclass(frozen=True, kw_only=True)
class ResidualUNetBackbone:
    """Backbone "residual_unet": :class:`ResidualUNet`. StarDist has no such backbone.

    Attributes:
        widths: channels of each level. The first level is the grid; each further one has half the resolution.
        blocks: residual blocks per level, in the encoder (but not at the first level) and in the decoder.
        kernel: kernel size of the residual blocks, (z, y, x).

    Raises:
        ValueError: no levels, or a width or ``blocks`` below 1.
    """

    kind: ClassVar[str] = "residual_unet"
    widths: Sequence[int]
    blocks: int = 1
    kernel: Triple = (3, 3, 3)

    def __post_init__(self) -> None:
        widths = tuple(int(width) for width in self.widths)
        if not widths or min(widths) < 1 or self.blocks < 1:
            raise ValueError(
                f"widths must have at least one level and blocks must be at least 1, "
                f"got widths={list(widths)}, blocks={self.blocks}"
            )
        object.__setattr__(self, "widths", widths)

    def build(self, channels: int, grid: Triple) -> nn.Module:
        """The layers from ``[B, channels, D, H, W]`` to ``[B, widths[0], D/gz, H/gy, W/gx]``.

        Args:
            channels: channels of the image.
            grid: subsampling of the output, (z, y, x).
        """
        return ResidualUNet(channels, grid, self.widths, self.blocks, self.kernel)

    def outputs(self, grid: Triple) -> int:
        """Output channels of the backbone on ``grid``.

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        return self.widths[0]

    def divisor(self, grid: Triple) -> Triple:
        """Divisor of the input sizes on ``grid``, (z, y, x).

        Args:
            grid: subsampling of the output, (z, y, x).
        """
        z, y, x = (g * 2 ** (len(self.widths) - 1) for g in grid)
        return z, y, x
