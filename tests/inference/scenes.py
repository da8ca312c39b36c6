"""Volumes whose objects are known, and a network that sees them without training.

A ball is drawn as a cone of brightness: 1 at the centre, 0 at the surface. The network takes brightness for
probability and knows how large balls are, so that what prediction does around it can be tested exactly.
"""

import numpy as np
import torch
from torch import nn

from anystar_torch.geometry.rays import Rays
from anystar_torch.network.stardist import Prediction, StarDist
from anystar_torch.network.weights import ModelConfig

RADIUS = 6.5


class Sees(StarDist):
    """Balls of radius RADIUS, from their brightness."""

    def __init__(self, grid=(1, 1, 1), rays=32, anisotropy=(1.0, 1.0, 1.0), blur=0):
        nn.Module.__init__(self)  # none of the layers of a StarDist
        self.grid, self.channels, self.divisor = grid, 1, tuple(4 * g for g in grid)
        self.rays = Rays.golden_spiral(rays, anisotropy)
        self.gain = nn.Parameter(torch.ones(()))
        self.blur = blur
        self.seen, self.batches = [], []

    def forward(self, image):
        assert all(size % d == 0 for size, d in zip(image.shape[2:], self.divisor, strict=True))
        self.seen.append(tuple(image.shape[2:]))
        self.batches.append(len(image))
        for _ in range(self.blur):  # a receptive field: blur steps of one voxel each
            image = nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
        gz, gy, gx = self.grid
        probability = (image * self.gain)[..., ::gz, ::gy, ::gx].clamp(0, 1)
        # Away from the centre the surface is nearer on one side; a network would know, this one says the
        # middle.
        distances = torch.full_like(probability, RADIUS).expand(-1, len(self.rays), -1, -1, -1)
        return Prediction(probability, distances)


def config(**changes):
    settings = {
        "architecture": {},
        "normalisation": "minmax",
        "diameter_band": (6.0, 13.0, 21.0),
        "prob_thresh": 0.6,
        "nms_thresh": 0.3,
    }
    return ModelConfig(**{**settings, **changes})


def balls(shape, centres, radius=RADIUS, spacing=(1, 1, 1)):
    """Image (cones of brightness) and labels of balls; ``radius`` in voxels of the finest axis, one for all."""
    image, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    step = np.array(spacing) / min(spacing)
    for i, centre in enumerate(centres, 1):
        low = np.maximum(np.floor(centre - radius / step), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius / step) + 1, shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        place = np.stack(
            np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1
        )
        away = np.sqrt((((place - centre) * step) ** 2).sum(-1)) / radius
        image[box] = np.maximum(image[box], np.clip(1 - away, 0, 1))
        labels[box][(away <= 1) & (labels[box] == 0)] = i
    return image, labels


def lattice(shape, distance, start=9):
    return [
        np.array([z, y, x], float)
        for z in range(start, shape[0] - 4, distance)
        for y in range(start, shape[1] - 4, distance)
        for x in range(start, shape[2] - 4, distance)
    ]
