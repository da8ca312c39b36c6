"""Smooth random fields: functions of position, given by their values on coarse lattices.

Two kinds of "Perlin noise" occur in AnyStar. The boundary of its objects uses gradient noise (K. Perlin 2002, as in
the package perlin-numpy); its textures and backgrounds use sums of linearly interpolated white noise of several
scales, which neurite calls Perlin noise.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.kernels.lattice import LatticeValues, resampled_sum
from anystar_torch.random.source import Source


def draw_gradients(source: Source, n: int, m: int, k: int) -> Float32[Tensor, "b 3 n m k"]:
    """Unit vectors with both spherical angles uniform, so bunched along the first and last axis as in the original."""
    polar, azimuth = source.uniform("angles", 0.0, 2.0 * math.pi, 2, n, m, k).unbind(1)
    ring = polar.sin()
    return torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), polar.cos()], dim=1)


def lattice_noise(
    source: Source, channels: int, world: Sequence[int], scales: Sequence[int], nodes: Sequence[int]
) -> LatticeValues:
    """White noise on lattices of several scales, each linearly interpolated over the world, added up.

    neurite's ``draw_perlin`` of the version AnyStar pins: standard deviation 1 for every scale at its nodes,
    ``ceil(world / scale)`` nodes from face to face.

    Args:
        source: draws; one name a scale.
        channels: number of independent fields.
        world: (Z, Y, X), voxels.
        scales: voxels between nodes.
        nodes: size of the result; its nodes too go from face to face.

    Returns:
        ``[B, channels, *nodes]``.
    """
    levels = [
        source.normal(f"scale {scale}", channels, *(-(-n // scale) for n in world)).contiguous()
        for scale in scales
    ]
    return resampled_sum(levels, nodes)
