"""What the network learns to predict, computed from labels, as StarDist does (Weigert et al., WACV 2020).

Each function has three implementations (:mod:`anystar_torch.kernels.implementations`): a native one for CPU
tensors and a
Triton one for GPUs, which both read the foreground only and stop early, and plain torch operators for every other
device. Those never wait for a value on the host and are the same operators whatever the labels and the batch size.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32, Int32
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels
from anystar_torch.geometry.dense_ids import rank
from anystar_torch.geometry.distance_transform import check_spacing, torch_distances
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.implementations import implementation

Addresses = tuple[Int32[Tensor, "s r gd 1 1"], Int32[Tensor, "s r 1 gh 1"], Int32[Tensor, "s r 1 1 gw"]]

_RAYS = 32  # rays per pass: the transient memory is about 10 bytes per grid point, sample and ray of a pass


def star_distances(
    labels: Labels, rays: Rays, grid: Sequence[int] = (1, 1, 1)
) -> Float32[Tensor, "b r gd gh gw"]:
    """Distances in voxels from every grid point to the border of its object, along each ray.

    From the grid point, steps of one voxel length along the ray; the distance is the length of the (rounded)
    offset of the first voxel that is of another label or outside the volume, so its square is an integer and
    at least 1. As StarDist's ``star_dist3D``, down to the rounding (half to even, of float32 sums), but ids
    do not wrap at 65,536.

    Args:
        labels: int32 ``[B, 1, D, H, W]``, ids to 2^31 - 1; 0 (and below) is background.
        rays: R unit directions, on the device of ``labels``.
        grid: keep every n-th voxel along (z, y, x), from the first on.

    Returns:
        float32 ``[B, R, ceil(D / grid), ...]``; 0 in the background.

    Raises:
        TypeError: labels that are not int32.
        ValueError: an empty volume, a grid that is not three positive integers, rays on another device or (seen on
            the CPU only) not of unit length.
    """
    steps = _check(labels, grid)
    if rays.vertices.device != labels.device:
        here, there = labels.device, rays.vertices.device
        raise ValueError(
            f"rays must be on the device of the labels, {here}, got {there}; use rays.to({here})"
        )
    if implementation(labels.device) == "torch":
        return _march(labels, rays.vertices, steps)
    distances: Tensor = _star_distances(labels, rays.vertices, *steps)
    return distances


def object_probability(
    labels: Labels, grid: Sequence[int] = (1, 1, 1), anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)
) -> Float32[Tensor, "b 1 gd gh gw"]:
    """How central a voxel is to its object: its distance to the border over the largest one of that object.

    As StarDist's ``edt_prob``: the distance transform at full resolution, touching objects bounding each
    other, divided by each label's maximum in its sample, then subsampled.

    Args:
        labels: int32 ``[B, 1, D, H, W]``, ids to 2^31 - 1; 0 (and below) is background.
        grid: keep every n-th voxel along (z, y, x), from the first on.
        anisotropy: length of a voxel along (z, y, x), positive.

    Returns:
        float32 ``[B, 1, ceil(D / grid), ...]`` in [0, 1]; 0 in the background only.

    Raises:
        ValueError: an empty volume, a grid that is not three positive integers, or an anisotropy that is not
            three positive numbers.
    """
    steps, spacing = _check(labels, grid), check_spacing(labels, anisotropy)
    if implementation(labels.device) == "torch":
        return _torch_probability(labels, steps, spacing)
    probability: Tensor = _object_probability(labels, *steps, *spacing)
    return probability


def _check(labels: Labels, grid: Sequence[int]) -> tuple[int, int, int]:
    check_spacing(labels, (1.0, 1.0, 1.0))
    if len(grid) != 3 or not all(isinstance(step, int) and step >= 1 for step in grid):
        raise ValueError(f"grid must be three positive integers (z, y, x), got {grid}")
    return grid[0], grid[1], grid[2]


def _on_grid(labels: Tensor, channels: int | torch.SymInt, grid: Sequence[int]) -> list[int | torch.SymInt]:
    sizes = zip(labels.shape[2:], grid, strict=True)
    return [labels.shape[0], channels, *((size + step - 1) // step for size, step in sizes)]


@torch.library.custom_op("anystar::star_distances", mutates_args=())
def _star_distances(labels: Tensor, vertices: Tensor, z: int, y: int, x: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton.star_distances import star_distances as on_gpu

        return on_gpu(labels.contiguous(), vertices.contiguous(), (z, y, x), _longest(labels))
    from anystar_torch.kernels import _native

    out = torch.empty(_on_grid(labels, len(vertices), (z, y, x)))
    field, directions = labels.squeeze(1).contiguous().numpy(), vertices.contiguous().numpy()
    _native.star_distances(field, directions, z, y, x, out.numpy(), torch.get_num_threads())
    return out


@_star_distances.register_fake
def _(labels: Tensor, vertices: Tensor, z: int, y: int, x: int) -> Tensor:
    shape = _on_grid(labels, vertices.shape[0], (z, y, x))
    return labels.new_empty(shape, dtype=torch.float32)


@torch.library.custom_op("anystar::object_probability", mutates_args=())
def _object_probability(
    labels: Tensor, z: int, y: int, x: int, length_z: float, length_y: float, length_x: float
) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton.distance_transform import object_probability as on_gpu

        return on_gpu(labels.contiguous(), (z, y, x), (length_z, length_y, length_x))
    from anystar_torch.kernels import _native

    out = torch.empty(_on_grid(labels, 1, (z, y, x)))
    field, lengths = labels.squeeze(1).contiguous().numpy(), (length_z, length_y, length_x)
    _native.object_probability(field, z, y, x, *lengths, out.numpy(), torch.get_num_threads())
    return out


@_object_probability.register_fake
def _(labels: Tensor, z: int, y: int, x: int, length_z: float, length_y: float, length_x: float) -> Tensor:
    return labels.new_empty(_on_grid(labels, 1, (z, y, x)), dtype=torch.float32)


def _torch_probability(
    labels: Labels, grid: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Float32[Tensor, "b 1 gd gh gw"]:
    distance = torch_distances(labels, spacing)
    largest = _largest_of_label(labels.flatten(1), distance.flatten(1)).view_as(distance)
    z, y, x = grid
    return (distance / largest.clamp_min(1e-10))[..., ::z, ::y, ::x].contiguous()


def _largest_of_label(labels: Int32[Tensor, "b v"], values: Float32[Tensor, "b v"]) -> Float32[Tensor, "b v"]:
    """For each voxel the largest value among its sample's voxels of the same label."""
    place = rank(labels)
    largest = torch.zeros_like(values).scatter_reduce_(1, place, values, "amax")
    return largest.gather(1, place)


def _march(
    labels: Labels, vertices: Float32[Tensor, "r 3"], grid: tuple[int, int, int]
) -> Float32[Tensor, "b r gd gh gw"]:
    """All rays of a pass take a step together; a ray that met another label stays where it is."""
    field = labels.clamp_min(0)
    z, y, x = grid
    start = field[..., ::z, ::y, ::x]
    offsets = _offsets(vertices, _longest(labels))
    length = _root(offsets.round().square().sum(-1))
    around = F.pad(field, (1,) * 6, value=-1).flatten(1)  # the outside is a label of its own
    out = torch.empty(len(labels), len(vertices), *start.shape[2:], device=labels.device)
    for first in range(0, len(vertices), _RAYS):
        chosen = slice(first, first + _RAYS)
        tables = _addresses(offsets[:, chosen], labels.shape[2:], grid)
        taken = _steps_inside(around, start, tables)
        entry = torch.arange(taken.shape[1], dtype=torch.int32, device=labels.device).view(-1, 1, 1, 1)
        address = (taken * taken.shape[1] + entry).flatten()
        hit = length[:, chosen].flatten().index_select(0, address).view(taken.shape)
        torch.mul(hit, start > 0, out=out[:, chosen])
    return out


def _root(squares: Float32[Tensor, "s r"]) -> Float32[Tensor, "s r"]:
    """Correctly rounded square roots: float32 ``sqrt`` need not be, on the CPU it is off by a unit for some."""
    if squares.device.type == "mps":  # has no float64
        return squares.sqrt()
    return squares.double().sqrt().float()


def _longest(labels: Labels) -> int:
    """Steps of unit length that lead out of the volume from anywhere in it, in any direction."""
    return math.floor(math.hypot(*labels.shape[2:])) + 2


def _offsets(vertices: Float32[Tensor, "r 3"], steps: int) -> Float32[Tensor, "s r 3"]:
    """Where each step leads, by repeated float32 addition: products or parallel sums round differently."""
    offsets = [vertices]
    for _ in range(steps - 1):
        offsets.append(offsets[-1] + vertices)
    return torch.stack(offsets)


def _addresses(
    offsets: Float32[Tensor, "s r 3"], shape: Sequence[int], grid: tuple[int, int, int]
) -> Addresses:
    """Per axis, what a step from each grid point adds to the address in the volume padded by one voxel."""
    tables, stride = [], 1
    for axis in (2, 1, 0):
        points = torch.arange(0, shape[axis], grid[axis], dtype=torch.float32, device=offsets.device)
        place = (offsets[..., axis, None] + points).round().clamp(-1, shape[axis]) + 1
        view = [1, 1, 1]
        view[axis] = -1
        tables.append((place.to(torch.int32) * stride).view(*place.shape[:2], *view))
        stride *= shape[axis] + 2
    return tables[2], tables[1], tables[0]


def _steps_inside(
    around: Int32[Tensor, "b v"],
    start: Int32[Tensor, "b 1 gd gh gw"],
    tables: Addresses,
) -> Int32[Tensor, "b r gd gh gw"]:
    """Number of steps from each grid point along each ray that meet only its own label."""
    b, rays = len(around), tables[0].shape[1]
    inside = (start > 0).repeat(1, rays, 1, 1, 1)
    taken = torch.zeros_like(inside, dtype=torch.int32)
    for z, y, x in zip(*tables, strict=True):
        address = z + y + x
        met = around.index_select(1, address.flatten()).view(b, *address.shape)
        inside.logical_and_(met == start)
        taken.add_(inside)
    return taken
