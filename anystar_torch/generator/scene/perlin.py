"""Smooth random fields: functions of position, given by their values on coarse lattices.

AnyStar has two kinds of "Perlin noise". The boundary of its objects uses gradient noise (K. Perlin 2002, as in the
package perlin-numpy). Its textures and backgrounds use sums of linearly interpolated white noise of several scales,
which neurite calls Perlin noise.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.kernels.lattice import LatticeValues, resampled_sum
from anystar_torch.random.source import Source


def draw_gradients(source: Source, n: int, m: int, k: int) -> Float32[Tensor, "b 3 n m k"]:
    """Unit vectors at the nodes of a lattice, ``[B, 3, n, m, k]``.

    Both spherical angles are uniform, as in AnyStar. Directions are therefore denser around the first and last axis.

    Args:
        source: draws.
        n: nodes along the first axis.
        m: nodes along the second axis.
        k: nodes along the third axis.
    """
    polar, azimuth = source.uniform("angles", 0.0, 2.0 * math.pi, 2, n, m, k).unbind(1)
    ring = polar.sin()
    return torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), polar.cos()], dim=1)


def lattice_noise(
    source: Source, channels: int, scene_shape: Sequence[int], scales: Sequence[int], nodes: Sequence[int]
) -> LatticeValues:
    """Sum of white noise on lattices of several scales, each linearly interpolated over the scene.

    This is neurite's ``draw_perlin`` in the version that AnyStar uses: standard deviation 1 at the nodes of every
    scale, and ``ceil(scene_shape / scale)`` nodes from face to face.

    Args:
        source: draws; one name per scale.
        channels: number of independent fields.
        scene_shape: (Z, Y, X), voxels.
        scales: distances between nodes, voxels.
        nodes: size of the result; its nodes also go from face to face.

    Returns:
        ``[B, channels, *nodes]``.
    """
    levels = [
        source.normal(f"scale {scale}", channels, *(-(-n // scale) for n in scene_shape)).contiguous()
        for scale in scales
    ]
    return resampled_sum(levels, nodes)
