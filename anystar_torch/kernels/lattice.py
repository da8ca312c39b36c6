"""Kernels of smooth fields that are given by their values on coarse lattices.

C++: ``csrc/lattice.hpp``, ``csrc/lattice_sum.hpp``. Triton: ``triton/lattice.py``, ``triton/lattice_sum.py``.
The functions ``torch_*`` are the references. Values differ by rounding: C++ and Triton by at most 1e-6, the references
by at most 2e-4 of the field's range in the tests (``grid_sample`` rounds positions). The largest of several fields
differs only where two fields are equal to rounding.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.kernels.implementations import implementation

LatticeValues = Float32[Tensor, "b c n m k"]
"""Values of C fields of each sample at the nodes of a lattice."""
Positions = Float32[Tensor, "b 3 d h w"]
"""Position (z, y, x) of each voxel."""

_MISSING = -1e4
"""The value of a field that a sample does not have: below every other."""
_CHUNK = 4
"""Fields that the reference evaluates at a time, to bound its memory."""


def gradient_noise(gradients: Float32[Tensor, "b 3 n m k"], samples: int) -> Float32[Tensor, "b 1 p q r"]:
    """Gradient noise (K. Perlin 2002), sampled ``samples`` times per lattice cell and axis.

    At fraction f of a cell the noise is the sum over its 8 corners of ``fade(1 - |f - corner|) g . (f - corner)``
    with ``fade(t) = t^3 (t (6 t - 15) + 10)`` per axis. It is 0 at every corner.

    Args:
        gradients: ``[B, 3, n, m, k]``, unit vectors (z, y, x) at the corners.
        samples: samples per cell and axis.

    Returns:
        ``[B, 1, (n - 1) samples, (m - 1) samples, (k - 1) samples]``.
    """
    run = torch_gradient_noise if implementation(gradients.device) == "torch" else _gradient_noise
    noise: Tensor = run(gradients, samples)
    return noise


@torch.library.custom_op("anystar::gradient_noise", mutates_args=())
def _gradient_noise(gradients: Tensor, samples: int) -> Tensor:
    gradients = gradients.contiguous()
    if implementation(gradients.device) == "triton":
        from anystar_torch.kernels.triton import lattice_sum

        return lattice_sum.gradient_noise(gradients, samples)
    from anystar_torch.kernels import _native

    out = torch.empty(_noise_shape(gradients, samples), dtype=torch.float32)
    _native.gradient_noise(gradients.numpy(), samples, out[:, 0].numpy(), torch.get_num_threads())
    return out


@_gradient_noise.register_fake
def _(gradients: Tensor, samples: int) -> Tensor:
    return gradients.new_empty(_noise_shape(gradients, samples))


def _noise_shape(gradients: Tensor, samples: int) -> list[int]:
    return [gradients.shape[0], 1, *((size - 1) * samples for size in gradients.shape[2:])]


def torch_gradient_noise(
    gradients: Float32[Tensor, "b 3 n m k"], samples: int
) -> Float32[Tensor, "b 1 p q r"]:
    """The reference of :func:`gradient_noise`.

    Arguments are those of :func:`gradient_noise`.
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


def resampled_sum(levels: Sequence[Float32[Tensor, "b c _ _ _"]], nodes: Sequence[int]) -> LatticeValues:
    """Sum of lattices of different sizes, each interpolated linearly to ``nodes``.

    Args:
        levels: ``[B, C, n, m, k]`` each; the first and the last node of every lattice lie on the faces.
        nodes: size of the result along (z, y, x).

    Returns:
        ``[B, C, *nodes]``.
    """
    if implementation(levels[0].device) == "torch":
        return torch_resampled_sum(levels, nodes)
    total: Tensor = _resampled_sum(list(levels), list(nodes))
    return total


@torch.library.custom_op("anystar::resampled_sum", mutates_args=())
def _resampled_sum(levels: list[Tensor], nodes: list[int]) -> Tensor:
    levels = [level.contiguous() for level in levels]
    if implementation(levels[0].device) == "triton":
        from anystar_torch.kernels.triton import lattice_sum

        return lattice_sum.resampled_sum(levels, nodes)
    from anystar_torch.kernels import _native

    out = torch.empty(*levels[0].shape[:2], *nodes, dtype=torch.float32)
    terms = [level.flatten(0, 1).numpy() for level in levels]
    _native.resampled_sum(terms, out.flatten(0, 1).numpy(), torch.get_num_threads())
    return out


@_resampled_sum.register_fake
def _(levels: list[Tensor], nodes: list[int]) -> Tensor:
    return levels[0].new_empty(*levels[0].shape[:2], *nodes)


def torch_resampled_sum(
    levels: Sequence[Float32[Tensor, "b c _ _ _"]], nodes: Sequence[int]
) -> LatticeValues:
    """The reference of :func:`resampled_sum`.

    Arguments are those of :func:`resampled_sum`.
    """
    total: Tensor | float = 0.0
    for level in levels:
        if list(level.shape[2:]) != list(nodes):
            level = F.interpolate(level, size=tuple(nodes), mode="trilinear", align_corners=True)
        total = total + level
    assert isinstance(total, Tensor)
    return total


def sample(
    lattice: LatticeValues,
    position: Positions,
    half: Sequence[float],
    middle: Sequence[float] = (0.0, 0.0, 0.0),
) -> Float32[Tensor, "b c d h w"]:
    """Values of the fields at ``position``, interpolated linearly.

    Args:
        lattice: ``[B, C, n, m, k]``; the outermost nodes lie ``half`` from ``middle``.
        position: ``[B, 3, D, H, W]``, (z, y, x); a position outside gets the value at the nearest face.
        half: (z, y, x), half the extent of the lattice in the units of ``position``.
        middle: (z, y, x), position of the middle of the lattice.
    """
    if implementation(lattice.device) == "torch":
        return _torch_sample(lattice, shifted(position, [-m for m in middle]), half)
    centre = [(size - 1) / 2 for size in lattice.shape[2:]]
    factor = [c / h for c, h in zip(centre, half, strict=True)]
    offset = [c - m * f for c, m, f in zip(centre, middle, factor, strict=True)]
    out: Tensor = _sample(lattice, position, factor, offset, False)
    return out


def sample_periodic(lattice: LatticeValues, position: Positions) -> Float32[Tensor, "b c d h w"]:
    """Values of periodic fields at ``position``, interpolated linearly between nodes one voxel apart.

    Args:
        lattice: ``[B, C, n, m, k]``, one period.
        position: ``[B, 3, D, H, W]``, (z, y, x), voxels.
    """
    if implementation(lattice.device) == "torch":
        return _torch_sample_periodic(lattice, position)
    out: Tensor = _sample(lattice, position, [1.0] * 3, [0.0] * 3, True)
    return out


@torch.library.custom_op("anystar::sample_lattice", mutates_args=())
def _sample(
    field: Tensor, position: Tensor, factor: list[float], offset: list[float], periodic: bool
) -> Tensor:
    """Interpolation at the nodes ``position * factor + offset``."""
    field, position = field.contiguous(), position.contiguous()
    if implementation(field.device) == "triton":
        from anystar_torch.kernels.triton import lattice

        return lattice.sample(field, position, factor, offset, periodic)
    from anystar_torch.kernels import _native

    out = torch.empty(*field.shape[:2], *position.shape[2:], dtype=torch.float32)
    place, values = position.flatten(2).numpy(), out.flatten(2).numpy()
    _native.sample_lattice(field.numpy(), place, periodic, factor, offset, values, torch.get_num_threads())
    return out


@_sample.register_fake
def _(field: Tensor, position: Tensor, factor: list[float], offset: list[float], periodic: bool) -> Tensor:
    return field.new_empty(*field.shape[:2], *position.shape[2:])


def _torch_sample(
    lattice: LatticeValues, position: Positions, half: Sequence[float]
) -> Float32[Tensor, "b c d h w"]:
    """The reference of :func:`sample`, for a lattice with its middle at 0."""
    grid = torch.stack([position[:, a] * (1.0 / half[a]) for a in (2, 1, 0)], dim=-1)
    return F.grid_sample(lattice, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _torch_sample_periodic(lattice: LatticeValues, position: Positions) -> Float32[Tensor, "b c d h w"]:
    """The reference of :func:`sample_periodic`."""
    size = lattice.shape[2:]
    for axis in (2, 3, 4):
        lattice = torch.cat([lattice, lattice.narrow(axis, 0, 1)], dim=axis)
    wrapped = [torch.remainder(position[:, a], float(size[a])) - size[a] / 2 for a in range(3)]
    return _torch_sample(lattice, torch.stack(wrapped, dim=1), [n / 2 for n in size])


def shifted(position: Positions, by: Sequence[float]) -> Positions:
    """Positions ``[B, 3, D, H, W]`` moved by (z, y, x).

    Args:
        position: ``[B, 3, D, H, W]``, (z, y, x), any unit.
        by: (z, y, x), added to every position, in the same unit.
    """
    return torch.stack([position[:, axis] + by[axis] for axis in range(3)], dim=1)


def strongest_field(
    fields: LatticeValues,
    position: Positions,
    half: Sequence[float],
    count: Int32[Tensor, " b"] | None = None,
    warp: Float32[Tensor, "b 3 p q r"] | None = None,
) -> Int32[Tensor, "b d h w"]:
    """Index of the field with the largest value at each warped position; of equal fields the first.

    Args:
        fields: ``[B, C, n, m, k]``; the outermost nodes lie at ``-half`` and ``half``.
        position: ``[B, 3, D, H, W]``, (z, y, x), voxels.
        half: (z, y, x), voxels.
        count: ``[B]``, number of fields of each sample; None for all. The result is 0 below 2 fields.
        warp: ``[B, 3, p, q, r]``, voxels, added to the positions; its outermost nodes lie at ``-half`` and ``half``.
            None for no warp.
    """
    if count is None:
        count = torch.full_like(fields[:, 0, 0, 0, 0], fields.shape[1], dtype=torch.int32)
    if warp is None:
        warp = torch.zeros_like(fields[:, :1, :1, :1, :1]).expand(-1, 3, -1, -1, -1)
    if implementation(fields.device) == "torch":
        return _torch_strongest(fields, position + sample(warp, position, half), half, count)
    winner: Tensor = _strongest(fields, position, list(half), count, warp)
    return winner


@torch.library.custom_op("anystar::strongest_field", mutates_args=())
def _strongest(fields: Tensor, position: Tensor, half: list[float], count: Tensor, warp: Tensor) -> Tensor:
    fields, position, warp = fields.contiguous(), position.contiguous(), warp.contiguous()
    if implementation(fields.device) == "triton":
        from anystar_torch.kernels.triton import lattice

        return lattice.strongest(fields, count.contiguous(), warp, position, half)
    from anystar_torch.kernels import _native

    out = torch.empty(len(fields), *position.shape[2:], dtype=torch.int32)
    arrays = (fields.numpy(), count.contiguous().numpy(), warp.numpy(), position.flatten(2).numpy())
    _native.strongest_field(*arrays, half, out.flatten(1).numpy(), torch.get_num_threads())
    return out


@_strongest.register_fake
def _(fields: Tensor, position: Tensor, half: list[float], count: Tensor, warp: Tensor) -> Tensor:
    return position.new_empty(position.shape[0], *position.shape[2:], dtype=torch.int32)


def _torch_strongest(
    fields: LatticeValues, position: Positions, half: Sequence[float], count: Int32[Tensor, " b"]
) -> Int32[Tensor, "b d h w"]:
    """The reference of :func:`strongest_field`, at positions that are warped already."""
    there = torch.arange(fields.shape[1], device=fields.device) < count[:, None]
    fields = torch.where(there[:, :, None, None, None], fields, _MISSING)
    best = torch.full_like(position[:, 0], -torch.inf)
    winner = torch.zeros_like(best, dtype=torch.int32)
    for start in range(0, fields.shape[1], _CHUNK):
        values = sample(fields[:, start : start + _CHUNK], position, half).unbind(1)
        for number, value in enumerate(values, start):
            winner.masked_fill_(value > best, number)
            best = torch.maximum(best, value)
    return winner
