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

from anystar_torch.kernels.implementations import implementation
from anystar_torch.random.source import Source

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
    if implementation(gradients.device) == "torch":
        return _torch_gradient_noise(gradients, samples)
    noise: Tensor = _gradient_noise(gradients, samples)
    return noise


def _torch_gradient_noise(
    gradients: Float32[Tensor, "b 3 n m k"], samples: int
) -> Float32[Tensor, "b 1 p q r"]:
    """:func:`gradient_noise` in plain operators."""
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
    levels = [
        source.normal(f"scale {scale}", channels, *(-(-n // scale) for n in world)).contiguous()
        for scale in scales
    ]
    if implementation(levels[0].device) == "torch":
        return _torch_resampled_sum(levels, nodes)
    total: Tensor = _resampled_sum(levels, list(nodes))
    return total


def _torch_resampled_sum(levels: Sequence[Tensor], nodes: Sequence[int]) -> Field:
    """The sum of ``levels``, each interpolated from face to face to the size ``nodes``, in plain operators."""
    total: Tensor | float = 0.0
    for field in levels:
        if list(field.shape[2:]) != list(nodes):
            field = F.interpolate(field, size=tuple(nodes), mode="trilinear", align_corners=True)
        total = total + field
    assert isinstance(total, Tensor)
    return total


def sample(
    field: Field, position: Positions, half: Sequence[float], middle: Sequence[float] = (0.0, 0.0, 0.0)
) -> Float32[Tensor, "b c d h w"]:
    """The field at ``position``, linearly interpolated; its outermost nodes stand ``half`` from its ``middle``.

    Args:
        field: ``[B, C, n, m, k]``.
        position: ``[B, 3, D, H, W]``, (z, y, x); outside, the value at the nearest face holds.
        half: (z, y, x), half the extent of the lattice in the units of ``position``.
        middle: (z, y, x), where the middle of the lattice lies.
    """
    if implementation(field.device) == "torch":
        return _torch_sample(field, shifted(position, [-m for m in middle]), half)
    centre = [(size - 1) / 2 for size in field.shape[2:]]
    factor = [c / h for c, h in zip(centre, half, strict=True)]
    offset = [c - m * f for c, m, f in zip(centre, middle, factor, strict=True)]
    out: Tensor = _sample(field, position, factor, offset, False)
    return out


def _torch_sample(field: Field, position: Positions, half: Sequence[float]) -> Float32[Tensor, "b c d h w"]:
    """:func:`sample` in plain operators, for a lattice with its middle at 0."""
    grid = torch.stack([position[:, a] * (1.0 / half[a]) for a in (2, 1, 0)], dim=-1)
    return F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=True)


def sample_periodic(field: Field, position: Positions) -> Float32[Tensor, "b c d h w"]:
    """The field at ``position``, linearly interpolated between nodes one voxel apart, repeated without end."""
    if implementation(field.device) == "torch":
        return _torch_sample_periodic(field, position)
    out: Tensor = _sample(field, position, [1.0] * 3, [0.0] * 3, True)
    return out


def _torch_sample_periodic(field: Field, position: Positions) -> Float32[Tensor, "b c d h w"]:
    """:func:`sample_periodic` in plain operators."""
    size = field.shape[2:]
    for axis in (2, 3, 4):
        field = torch.cat([field, field.narrow(axis, 0, 1)], dim=axis)
    wrapped = [torch.remainder(position[:, a], float(size[a])) - size[a] / 2 for a in range(3)]
    return _torch_sample(field, torch.stack(wrapped, dim=1), [n / 2 for n in size])


def shifted(position: Positions, by: Sequence[float]) -> Positions:
    """Positions moved by (z, y, x)."""
    return torch.stack([position[:, axis] + by[axis] for axis in range(3)], dim=1)


@torch.library.custom_op("anystar::gradient_noise", mutates_args=())
def _gradient_noise(gradients: Tensor, samples: int) -> Tensor:
    if implementation(gradients.device) == "triton":
        from anystar_torch.kernels.triton import lattice_sum

        return lattice_sum.gradient_noise(gradients.contiguous(), samples)
    from anystar_torch.kernels import _native

    out = torch.empty(_noise_shape(gradients, samples))
    _native.gradient_noise(
        gradients.contiguous().numpy(), samples, out[:, 0].numpy(), torch.get_num_threads()
    )
    return out


@_gradient_noise.register_fake
def _(gradients: Tensor, samples: int) -> Tensor:
    return gradients.new_empty(_noise_shape(gradients, samples))


def _noise_shape(gradients: Tensor, samples: int) -> list[int]:
    return [gradients.shape[0], 1, *((size - 1) * samples for size in gradients.shape[2:])]


@torch.library.custom_op("anystar::resampled_sum", mutates_args=())
def _resampled_sum(levels: list[Tensor], nodes: list[int]) -> Tensor:
    levels = [level.contiguous() for level in levels]
    if implementation(levels[0].device) == "triton":
        from anystar_torch.kernels.triton import lattice_sum

        return lattice_sum.resampled_sum(levels, nodes)
    from anystar_torch.kernels import _native

    out = torch.empty(*levels[0].shape[:2], *nodes)
    terms = [level.flatten(0, 1).numpy() for level in levels]
    _native.resampled_sum(terms, out.flatten(0, 1).numpy(), torch.get_num_threads())
    return out


@_resampled_sum.register_fake
def _(levels: list[Tensor], nodes: list[int]) -> Tensor:
    return levels[0].new_empty(*levels[0].shape[:2], *nodes)


@torch.library.custom_op("anystar::sample_lattice", mutates_args=())
def _sample(
    field: Tensor, position: Tensor, factor: list[float], offset: list[float], periodic: bool
) -> Tensor:
    field, position = field.contiguous(), position.contiguous()
    if implementation(field.device) == "triton":
        from anystar_torch.kernels.triton import lattice

        return lattice.sample(field, position, factor, offset, periodic)
    from anystar_torch.kernels import _native

    out = torch.empty(*field.shape[:2], *position.shape[2:])
    place, values = position.flatten(2).numpy(), out.flatten(2).numpy()
    _native.sample_lattice(field.numpy(), place, periodic, factor, offset, values, torch.get_num_threads())
    return out


@_sample.register_fake
def _(field: Tensor, position: Tensor, factor: list[float], offset: list[float], periodic: bool) -> Tensor:
    return field.new_empty(*field.shape[:2], *position.shape[2:])
