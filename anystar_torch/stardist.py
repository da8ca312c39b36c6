"""The network: a grid stage, a U-Net, and the two heads of StarDist.

Input ``[B, 1, D, H, W]``, output on the grid ``[B, ., D/gz, H/gy, W/gx]``. Defined as StarDist 3D builds it (Config3D,
backbone "unet"), so that weights travel both ways.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anystar_torch.arrays import Volume
from anystar_torch.rays import Rays
from anystar_torch.unet import Triple, UNet, conv_block, conv_blocks, convolution

Probability = Float[Tensor, "b 1 gd gh gw"]  # on the grid
Distances = Float[Tensor, "b r gd gh gw"]


class Prediction(NamedTuple):
    """What the network says at every grid point.

    Attributes:
        probability: ``[B, 1, d, h, w]`` in [0, 1]; trained to be the normalised distance transform of the object.
        distances: ``[B, R, d, h, w]`` >= 0, in voxels of the input, one per ray.
    """

    probability: Probability
    distances: Distances


class GridStage(nn.Sequential):
    """What brings the image onto the grid: two convolutions and a pooling for each halving, never normalised."""

    def __init__(self, grid: Triple, in_channels: int, filters: int, kernel: Triple) -> None:
        stages: list[nn.Module] = []
        pooled, channels = [1, 1, 1], in_channels
        while tuple(pooled) != tuple(grid):
            pool = tuple(2 if g > p else 1 for g, p in zip(grid, pooled, strict=True))
            stages += [conv_blocks([channels, filters, filters], kernel, False), nn.MaxPool3d(pool)]
            pooled = [p * q for p, q in zip(pooled, pool, strict=True)]
            channels = filters
        super().__init__(*stages)
        self.out_channels = channels


class StarDist(nn.Module):
    """StarDist 3D with a U-Net backbone.

    Args:
        rays: number of rays on the golden spiral.
        anisotropy: relative voxel shape the rays are spread for, (z, y, x).
        grid: subsampling of the prediction, (z, y, x); powers of two.
        filters: channels of the first level.
        depth: how many times the resolution is reduced after the grid.
        batch_norm: batch normalisation in the U-Net (never in the grid stage or the heads).
        features: channels of the shared convolution before the heads; 0 leaves it out.

    Raises:
        ValueError: a grid that is not made of powers of two.
    """

    def __init__(
        self,
        *,
        rays: int,
        anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0),
        grid: Sequence[int] = (1, 1, 1),
        filters: int = 32,
        depth: int = 2,
        batch_norm: bool = True,
        features: int = 128,
    ) -> None:
        super().__init__()
        if any(g < 1 or g & (g - 1) for g in grid):
            raise ValueError(f"grid must be powers of two per axis (z, y, x), got {tuple(grid)}")
        self.architecture = {
            "rays": rays,
            "anisotropy": [float(a) for a in anisotropy],
            "grid": [int(g) for g in grid],
            "filters": filters,
            "depth": depth,
            "batch_norm": batch_norm,
            "features": features,
        }
        kernel = (3, 3, 3)
        self.rays = Rays.golden_spiral(rays, (anisotropy[0], anisotropy[1], anisotropy[2]))
        self.grid: Triple = (int(grid[0]), int(grid[1]), int(grid[2]))
        self.grid_stage = GridStage(self.grid, 1, filters, kernel)
        self.unet = UNet(self.grid_stage.out_channels, filters, depth, kernel, (2, 2, 2), batch_norm)
        shared = conv_block(filters, features, kernel, False) if features else nn.Identity()
        self.features = shared
        self.probability = convolution(features or filters, 1, (1, 1, 1))
        self.distances = convolution(features or filters, rays, (1, 1, 1))

    @property
    def divisor(self) -> Triple:
        """Sizes of the input must be multiples of this, (z, y, x)."""
        factor = 2 ** len(self.unet.down)
        return (self.grid[0] * factor, self.grid[1] * factor, self.grid[2] * factor)

    def logits(self, image: Volume) -> tuple[Probability, Distances]:
        """Probability before the sigmoid and distances before clipping: what the loss takes.

        Raises:
            ValueError: sizes that are not multiples of :attr:`divisor`.
        """
        size = image.shape[2:]
        if any(s % d for s, d in zip(size, self.divisor, strict=True)):
            raise ValueError(
                f"image sizes must be multiples of {self.divisor} (z, y, x), got {tuple(size)}; "
                "pad the volume, or let AnyStar.predict do it"
            )
        features = self.features(self.unet(self.grid_stage(image)))
        return self.probability(features), self.distances(features)

    def forward(self, image: Volume) -> Prediction:
        """Probability and distances of ``image`` ``[B, 1, D, H, W]``, float32 whatever the autocast."""
        probability, distances = self.logits(image)
        return Prediction(torch.sigmoid(probability.float()), distances.float().clamp_min(0.0))
