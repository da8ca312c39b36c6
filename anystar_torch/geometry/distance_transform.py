"""Euclidean distance from every voxel of an object to the nearest voxel that is not of that object.

Objects that touch bound each other; the border of the volume bounds nothing, except in a sample that is one
object from border to border, where the distance is that to the outside (the meaning of the ``edt`` package
with ``black_border=False``, which StarDist uses; the exception is StarDist's).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32, Int32
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels, Volume
from anystar_torch.kernels.implementations import implementation

_PLANES = 8  # output planes per broadcast pass: the transient memory is this many volumes of float32


def distance_transform(labels: Labels, anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)) -> Volume:
    """Distance to the nearest voxel of another label, between voxel centres; 0 in the background.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        anisotropy: length of a voxel along (z, y, x), positive.

    Returns:
        float32 ``[B, 1, D, H, W]``, in the unit of ``anisotropy``.

    Raises:
        ValueError: an empty volume, or an anisotropy that is not three positive finite numbers.
    """
    spacing = check_spacing(labels, anisotropy)
    if implementation(labels.device) == "torch":
        return torch_distances(labels, spacing)
    distance: Volume = _distance_transform(labels, *spacing)
    return distance


def check_spacing(labels: Labels, anisotropy: Sequence[float | int]) -> tuple[float, float, float]:
    """The voxel lengths as floats; refuses what has no distance transform."""
    if labels.dtype != torch.int32:
        raise TypeError(f"labels must be int32, got {labels.dtype}; convert with labels.to(torch.int32)")
    if labels.ndim != 5 or labels.shape[1] != 1:
        raise ValueError(f"labels must be [B, 1, D, H, W], got {tuple(labels.shape)}")
    if min(labels.shape[2:]) < 1:
        raise ValueError(f"labels must have at least one voxel along each axis, got {tuple(labels.shape)}")
    if len(anisotropy) != 3 or not all(0 < length < math.inf for length in anisotropy):
        raise ValueError(f"anisotropy must be three positive numbers (z, y, x), got {anisotropy}")
    return float(anisotropy[0]), float(anisotropy[1]), float(anisotropy[2])


@torch.library.custom_op("anystar::distance_transform", mutates_args=())
def _distance_transform(labels: Tensor, z: float, y: float, x: float) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton.distance_transform import distance_transform as on_gpu

        return on_gpu(labels.contiguous(), (z, y, x))
    from anystar_torch.kernels import _native

    out = torch.empty(labels.shape)
    field = labels.squeeze(1).contiguous().numpy()
    _native.distance_transform(field, z, y, x, out.numpy(), torch.get_num_threads())
    return out


@_distance_transform.register_fake
def _(labels: Tensor, z: float, y: float, x: float) -> Tensor:
    return labels.new_empty(labels.shape, dtype=torch.float32)


def torch_distances(labels: Labels, spacing: tuple[float, float, float]) -> Volume:
    """The plain torch implementation: exact distances to the nearest other label, separably: along x, then y, then z.

    Along a line, voxel j's squared distance f(j) plus (i - j)^2 is the squared distance to some voxel of
    another label than j's; where j is not of i's label that may be one of i's own, but then j itself is
    nearer. So the minimum over all j and over the ends of i's own run needs no comparison of labels.
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


def _to_outside(
    field: Int32[Tensor, "b d h w"], spacing: tuple[float, float, float]
) -> Float32[Tensor, "d h w"]:
    """Distance to the nearest voxel centre outside the volume."""
    nearest = []
    for dim, length in enumerate(spacing):
        n = field.shape[dim + 1]
        index = torch.arange(n, dtype=torch.float32, device=field.device)
        steps = torch.minimum(index + 1.0, n - index) * length
        nearest.append(steps.view(-1, *(1,) * (2 - dim)))
    return torch.minimum(torch.minimum(nearest[0], nearest[1]), nearest[2])
