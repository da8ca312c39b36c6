"""Kernels of the Euclidean distance to another label, and of the object probability that is made of it.

C++: ``csrc/edt.hpp``. Triton: ``triton/distance_transform.py``. The functions ``torch_*`` are the references. The
transform is exact and separable (Felzenszwalb and Huttenlocher, Theory of Computing 8, 2012), with touching labels as
in the ``edt`` package. Results differ by rounding, at most 1e-6 relative in the tests.
"""

import math

import torch
from jaxtyping import Float32, Int32
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels, Spacing, Triple, Volume
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.label_table import dense_ids
from anystar_torch.kernels.native import on_grid

_PLANES = 8
"""Output planes of one pass of the reference, whose transient memory is this many volumes of float32."""


def distance_transform(labels: Labels, spacing: Spacing) -> Volume:
    """Distance to the nearest voxel of another label, between voxel centres; 0 in the background.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        spacing: length of a voxel along (z, y, x).
    """
    if implementation(labels.device) == "torch":
        return torch_distances(labels, spacing)
    distance: Volume = _distance_transform(labels, *spacing)
    return distance


@torch.library.custom_op("anystar::distance_transform", mutates_args=())
def _distance_transform(labels: Tensor, z: float, y: float, x: float) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton import distance_transform as on_gpu

        return on_gpu.distance_transform(labels.contiguous(), (z, y, x))
    from anystar_torch.kernels import _native

    out = torch.empty(labels.shape, dtype=torch.float32)
    given = labels.squeeze(1).contiguous().numpy()
    _native.distance_transform(given, z, y, x, out.numpy(), torch.get_num_threads())
    return out


@_distance_transform.register_fake
def _(labels: Tensor, z: float, y: float, x: float) -> Tensor:
    return labels.new_empty(labels.shape, dtype=torch.float32)


def object_probability(labels: Labels, grid: Triple, spacing: Spacing) -> Float32[Tensor, "b 1 gd gh gw"]:
    """Distance to the border of the object over the largest one of that object in its sample.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        grid: keep every n-th voxel along (z, y, x), from the first on.
        spacing: length of a voxel along (z, y, x).
    """
    if implementation(labels.device) == "torch":
        return torch_probability(labels, grid, spacing)
    probability: Tensor = _object_probability(labels, *grid, *spacing)
    return probability


@torch.library.custom_op("anystar::object_probability", mutates_args=())
def _object_probability(
    labels: Tensor, z: int, y: int, x: int, length_z: float, length_y: float, length_x: float
) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton import distance_transform as on_gpu

        return on_gpu.object_probability(labels.contiguous(), (z, y, x), (length_z, length_y, length_x))
    from anystar_torch.kernels import _native

    out = torch.empty(on_grid(labels, 1, (z, y, x)), dtype=torch.float32)
    given, lengths = labels.squeeze(1).contiguous().numpy(), (length_z, length_y, length_x)
    _native.object_probability(given, z, y, x, *lengths, out.numpy(), torch.get_num_threads())
    return out


@_object_probability.register_fake
def _(labels: Tensor, z: int, y: int, x: int, length_z: float, length_y: float, length_x: float) -> Tensor:
    return labels.new_empty(on_grid(labels, 1, (z, y, x)), dtype=torch.float32)


def torch_probability(labels: Labels, grid: Triple, spacing: Spacing) -> Float32[Tensor, "b 1 gd gh gw"]:
    """The reference of :func:`object_probability`.

    Arguments are those of :func:`object_probability`.
    """
    distance = torch_distances(labels, spacing)
    largest = _largest_of_label(labels.flatten(1), distance.flatten(1)).view_as(distance)
    z, y, x = grid
    return (distance / largest.clamp_min(1e-10))[..., ::z, ::y, ::x].contiguous()


def _largest_of_label(labels: Int32[Tensor, "b v"], values: Float32[Tensor, "b v"]) -> Float32[Tensor, "b v"]:
    """For each voxel the largest value among the voxels of its sample with the same label."""
    place = dense_ids(labels)
    largest = torch.zeros_like(values).scatter_reduce_(1, place, values, "amax")
    return largest.gather(1, place)


def torch_distances(labels: Labels, spacing: Spacing) -> Volume:
    """The reference of :func:`distance_transform`: exact, one axis after the other, x first.

    Along a line, the squared distance f(j) of voxel j plus (i - j)^2 is the squared distance from voxel i to a voxel of
    another label than j's. If j has another label than i, that voxel may have the label of i, but then j itself is
    nearer. So the minimum over all j and over the ends of i's own run needs no comparison of labels.

    Arguments are those of :func:`distance_transform`.
    """
    field = labels.clamp_min(0).squeeze(1)
    squared = (_to_other_label(field, 3) * spacing[2]).square()
    for dim in (2, 1):
        ends = (_to_other_label(field, dim) * spacing[dim - 1]).square()
        squared = torch.minimum(ends, _lowest_parabola(squared, dim, spacing[dim - 1]))
    distance = torch.where(squared.isinf(), _to_outside(field, spacing), squared.sqrt())
    return torch.where(field > 0, distance, 0.0).unsqueeze(1)


def _to_other_label(field: Int32[Tensor, "b d h w"], dim: int) -> Float32[Tensor, "b d h w"]:
    """Voxels to the next voxel of another label along ``dim``, either way; infinite where there is none."""
    n = field.shape[dim]
    dim -= field.ndim
    index = torch.arange(n, dtype=torch.float32, device=field.device).view(-1, *(1,) * (-dim - 1))
    changes = field.diff(dim=dim) != 0  # between i and i + 1
    lines = (0,) * (2 * (-dim - 1))
    start = torch.where(changes, index.narrow(dim, 1, n - 1), -math.inf)
    start = F.pad(start, (*lines, 1, 0), value=-math.inf).cummax(dim).values
    end = torch.where(changes, index.narrow(dim, 0, n - 1), math.inf)
    end = F.pad(end, (*lines, 0, 1), value=math.inf).flip(dim).cummin(dim).values.flip(dim)
    return torch.minimum(index - start, end - index) + 1.0


def _lowest_parabola(
    squared: Float32[Tensor, "b d h w"], dim: int, length: float
) -> Float32[Tensor, "b d h w"]:
    """Minimum over j of ``squared[j] + (length (i - j))^2`` along ``dim``, a few planes i at a time."""
    lines = squared.flatten(0, dim - 1).flatten(2)  # [outer, n, inner]
    n = lines.shape[1]
    index = torch.arange(n, dtype=torch.float32, device=squared.device) * length
    parabola = (index.unsqueeze(1) - index).square().unsqueeze(-1)  # [i, j, 1]
    lowest = torch.empty_like(lines)
    for first in range(0, n, _PLANES):
        planes = lines.unsqueeze(1) + parabola[first : first + _PLANES]
        torch.amin(planes, 2, out=lowest[:, first : first + _PLANES])
    return lowest.view_as(squared)


def _to_outside(field: Int32[Tensor, "b d h w"], spacing: Spacing) -> Float32[Tensor, "d h w"]:
    """Distance to the nearest voxel centre outside the volume."""
    nearest = []
    for dim, length in enumerate(spacing):
        n = field.shape[dim + 1]
        index = torch.arange(n, dtype=torch.float32, device=field.device)
        steps = torch.minimum(index + 1.0, n - index) * length
        nearest.append(steps.view(-1, *(1,) * (2 - dim)))
    return torch.minimum(torch.minimum(nearest[0], nearest[1]), nearest[2])
