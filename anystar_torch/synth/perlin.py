"""Smooth random fields: functions of position, given by their values on coarse lattices.

Two kinds of "Perlin noise" occur in AnyStar. The boundary of its objects uses gradient noise (K. Perlin 2002, as in
the package perlin-numpy); its textures and backgrounds use sums of linearly interpolated white noise of several
scales, which neurite calls Perlin noise.
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.random import Source

Field = Float32[Tensor, "b c n m k"]
Positions = Float32[Tensor, "b 3 d h w"]


def gradient_noise(gradients: Float32[Tensor, "b 3 n m k"], samples: int) -> Float32[Tensor, "b 1 p q r"]:
    """Perlin's gradient noise, sampled ``samples`` times per lattice cell and axis.

    At fraction f of a cell the noise is the sum over its 8 corners of ``fade(1 - |f - corner|) g . (f - corner)``
    with ``fade(t) = t^3 (t (6 t - 15) + 10)`` per axis: 0 at every corner.

    Args:
        gradients: ``[B, 3, n, m, k]``, unit vectors (z, y, x) at the corners.
        samples: samples per cell and axis.

    Returns:
        ``[B, 1, (n - 1) samples, (m - 1) samples, (k - 1) samples]``.
    """
    batch, _, *corners = gradients.shape
    n, m, k = (size - 1 for size in corners)
    f = torch.arange(samples, dtype=torch.float32, device=gradients.device) / samples
    t = f * f * f * (f * (f * 6.0 - 15.0) + 10.0)
    sides = ((f, 1.0 - t), (f - 1.0, t))
    total: Tensor | float = 0.0
    for i, j, h in product((0, 1), repeat=3):
        z, y, x = gradients[:, :, i : i + n, j : j + m, h : h + k, None, None, None].unbind(1)
        (fz, tz), (fy, ty), (fx, tx) = sides[i], sides[j], sides[h]
        inner = x * fx + y * fy[:, None] + z * fz[:, None, None]
        total = total + inner * (tz[:, None, None] * ty[:, None] * tx)
    assert isinstance(total, Tensor)
    total = total.permute(0, 1, 4, 2, 5, 3, 6)
    return total.reshape(batch, 1, n * samples, m * samples, k * samples)


def draw_gradients(source: Source, n: int, m: int, k: int) -> Float32[Tensor, "b 3 n m k"]:
    """Unit vectors with both spherical angles uniform, so bunched along the first and last axis as in the original."""
    polar, azimuth = source.uniform("angles", 0.0, 2.0 * math.pi, 2, n, m, k).unbind(1)
    ring = polar.sin()
    return torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), polar.cos()], dim=1)


def lattice_noise(
    source: Source, channels: int, world: Sequence[int], scales: Sequence[int], nodes: Sequence[int]
) -> Field:
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
    total: Tensor | float = 0.0
    for scale in scales:
        size = [-(-n // scale) for n in world]
        field = source.normal(f"scale {scale}", channels, *size)
        if size != list(nodes):
            field = F.interpolate(field, size=tuple(nodes), mode="trilinear", align_corners=True)
        total = total + field
    assert isinstance(total, Tensor)
    return total


def sample(field: Field, position: Positions, half: Sequence[float]) -> Float32[Tensor, "b c d h w"]:
    """The field at ``position``, linearly interpolated; its outermost nodes stand at ``-half`` and ``half``.

    Args:
        field: ``[B, C, n, m, k]``.
        position: ``[B, 3, D, H, W]``, (z, y, x) from the centre; outside, the value at the nearest face holds.
        half: (z, y, x), half the extent of the lattice in the units of ``position``.
    """
    grid = torch.stack([position[:, a] * (1.0 / half[a]) for a in (2, 1, 0)], dim=-1)
    return F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=True)


def sample_periodic(field: Field, position: Positions) -> Float32[Tensor, "b c d h w"]:
    """The field at ``position``, linearly interpolated between nodes one voxel apart, repeated without end."""
    size = field.shape[2:]
    for axis in (2, 3, 4):
        field = torch.cat([field, field.narrow(axis, 0, 1)], dim=axis)
    wrapped = [torch.remainder(position[:, a], float(size[a])) - size[a] / 2 for a in range(3)]
    return sample(field, torch.stack(wrapped, dim=1), [n / 2 for n in size])


def shifted(position: Positions, by: Sequence[float]) -> Positions:
    """Positions moved by (z, y, x)."""
    return torch.stack([position[:, axis] + by[axis] for axis in range(3)], dim=1)
