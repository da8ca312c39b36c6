"""Scenes for the benchmarks: label volumes of star-convex blobs, and candidates as a network would give them."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.geometry.rays import Rays

BLOBS = {64: (3, 1), 128: (6, 2), 256: (12, 3)}
"""Size of the cube: (blobs along each axis, seed)."""


class Candidates(NamedTuple):
    """What `ops.nms` takes, in its order."""

    points: Tensor
    distances: Tensor
    scores: Tensor
    rays: Rays


def blobs(size: int) -> NDArray[np.uint16]:
    """A cube of lumpy star-convex blobs of radius 7.5 to 10 on a jittered lattice; labels, 0 = background."""
    cells, seed = BLOBS[size]
    rng = np.random.default_rng(seed)
    labels = np.zeros((size,) * 3, np.uint16)
    for label, cell in enumerate(np.ndindex(cells, cells, cells), start=1):
        centre = (np.array(cell) + 0.5) * size / cells + rng.uniform(-3, 3, 3)
        radius = rng.uniform(7.5, 10.0)
        lobes = rng.normal(size=(6, 3))
        lobes /= np.linalg.norm(lobes, axis=1, keepdims=True)
        heights = rng.uniform(-0.18, 0.18, 6)
        reach = int(np.ceil(radius * 1.8))
        low = np.maximum(np.floor(centre).astype(int) - reach, 0)
        high = np.minimum(np.floor(centre).astype(int) + reach + 1, size)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offset = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1) - centre
        length = np.linalg.norm(offset, axis=-1)
        cosine = offset / np.maximum(length, 1e-9)[..., None] @ lobes.T
        surface = radius * np.clip(1 + (heights * (np.exp(2 * (cosine - 1)) - 0.25)).sum(-1), 0.5, 1.6)
        labels[box][(length <= surface) & (labels[box] == 0)] = label
    return labels


def balls(size: int, foreground: float, spacing: int = 16) -> NDArray[np.uint16]:
    """A cube of balls on a jittered lattice that fill this share of it (up to about a half); labels, 0 = background."""
    rng = np.random.default_rng(0)
    labels = np.zeros((size,) * 3, np.uint16)
    mean = spacing * (foreground * 3 / (4 * np.pi)) ** (1 / 3)
    cells = size // spacing
    for label, cell in enumerate(np.ndindex(cells, cells, cells), start=1):
        centre = (np.array(cell) + 0.5) * spacing + rng.uniform(-1, 1, 3)
        radius = mean * rng.uniform(0.9, 1.1)
        low = np.maximum(np.floor(centre - radius).astype(int), 0)
        high = np.minimum(np.ceil(centre + radius).astype(int) + 1, size)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offset = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1) - centre
        labels[box][(offset**2).sum(-1) <= radius**2] = label
    return labels


def perturbed(
    probability: NDArray[np.float32], distances: NDArray[np.float32], grid: int, noise: float, rays: Rays
) -> Candidates:
    """Candidates where ``probability [d,h,w]`` > 0.5: true ``distances [d,h,w,R]`` with noise on every ray."""
    rng = np.random.default_rng(0)
    scores = (probability + 1e-4 * rng.standard_normal(probability.shape)).astype(np.float32)
    chosen = scores > 0.5
    lengths = distances[chosen]
    lengths = lengths * (1 + noise * rng.standard_normal(lengths.shape, dtype=np.float32))
    points = (np.argwhere(chosen) * grid).astype(np.float32)
    arrays = points, np.maximum(lengths, 1e-3).astype(np.float32), scores[chosen]
    return Candidates(*(torch.from_numpy(array) for array in arrays), rays)


def crowd_of_balls(count: int, rays: Rays, *, per_ball: int = 32, spacing: float = 20.5) -> Candidates:
    """``count`` candidates on the even voxels of a packed crowd of balls of radius 8 to 11, 5 % noise on every ray."""
    rng = np.random.default_rng(0)
    side = round((count / per_ball) ** (1 / 3))
    centres = (
        np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5
    ) * spacing
    centres += rng.uniform(-3, 3, centres.shape)
    radii = rng.uniform(8, 11, len(centres))
    ball = np.resize(np.repeat(np.arange(len(centres)), per_ball), count)
    offset = rng.normal(size=(count, 3))
    offset *= (0.5 * radii[ball] * rng.uniform(0, 1, count) ** (1 / 3) / np.linalg.norm(offset, axis=1))[
        :, None
    ]
    points = np.rint((centres[ball] + offset) / 2) * 2
    offset = points - centres[ball]
    along = offset @ rays.vertices.numpy().T.astype(np.float64)
    inside = radii[ball] ** 2 - (offset**2).sum(1)
    lengths = np.sqrt(np.maximum(along**2 + inside[:, None], 0)) - along
    lengths *= 1 + 0.05 * rng.standard_normal(lengths.shape, dtype=np.float32)
    scores = 1 - np.linalg.norm(offset, axis=1) / radii[ball] + 1e-3 * rng.standard_normal(count)
    arrays = points, np.maximum(lengths, 1e-3), scores
    return Candidates(*(torch.from_numpy(array.astype(np.float32)) for array in arrays), rays)
