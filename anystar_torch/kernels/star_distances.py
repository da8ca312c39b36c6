"""Kernel of star distances: from every grid point along each ray to the border of its object.

C++: ``csrc/star_distances.hpp``. Triton: ``triton/star_distances.py``. :func:`torch_star_distances` is the reference.
All implementations give the same bits, those of StarDist's ``star_dist3D`` (Weigert et al., WACV 2020).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32, Int32
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels, Triple
from anystar_torch.kernels.implementations import implementation, widest_float
from anystar_torch.kernels.native import on_grid

Addresses = tuple[Int32[Tensor, "s r gd 1 1"], Int32[Tensor, "s r 1 gh 1"], Int32[Tensor, "s r 1 1 gw"]]
"""Per axis, what each step along each ray adds to the address of a grid point."""

_RAYS = 32  # rays of one pass of the reference: its transient memory is 10 bytes for each grid point and ray


def star_distances(
    labels: Labels, vertices: Float32[Tensor, "r 3"], grid: Triple
) -> Float32[Tensor, "b r gd gh gw"]:
    """Distances in voxels from every grid point to the border of its object, along each ray.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        vertices: ``[R, 3]``, unit directions.
        grid: keep every n-th voxel along (z, y, x), from the first on.
    """
    if implementation(labels.device) == "torch":
        return torch_star_distances(labels, vertices, grid)
    distances: Tensor = _star_distances(labels, vertices, *grid)
    return distances


@torch.library.custom_op("anystar::star_distances", mutates_args=())
def _star_distances(labels: Tensor, vertices: Tensor, z: int, y: int, x: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton import star_distances as on_gpu

        steps = _most_steps(labels)
        return on_gpu.star_distances(labels.contiguous(), vertices.contiguous(), (z, y, x), steps)
    from anystar_torch.kernels import _native

    out = torch.empty(on_grid(labels, len(vertices), (z, y, x)), dtype=torch.float32)
    given, directions = labels.squeeze(1).contiguous().numpy(), vertices.contiguous().numpy()
    _native.star_distances(given, directions, z, y, x, out.numpy(), torch.get_num_threads())
    return out


@_star_distances.register_fake
def _(labels: Tensor, vertices: Tensor, z: int, y: int, x: int) -> Tensor:
    shape = on_grid(labels, vertices.shape[0], (z, y, x))
    return labels.new_empty(shape, dtype=torch.float32)


def _most_steps(labels: Labels) -> int:
    """Steps of unit length that lead out of the volume from anywhere in it, in any direction."""
    return math.floor(math.hypot(*labels.shape[2:])) + 2


def torch_star_distances(
    labels: Labels, vertices: Float32[Tensor, "r 3"], grid: Triple
) -> Float32[Tensor, "b r gd gh gw"]:
    """The reference of :func:`star_distances`.

    All rays of a pass take a step together; a ray that met another label stays where it is.

    Arguments are those of :func:`star_distances`.
    """
    field = labels.clamp_min(0)
    z, y, x = grid
    start = field[..., ::z, ::y, ::x]
    offsets = _offsets(vertices, _most_steps(labels))
    length = _root(offsets.round().square().sum(-1))
    around = F.pad(field, (1,) * 6, value=-1).flatten(1)  # the outside is a label of its own
    shape = len(labels), len(vertices), *start.shape[2:]
    out = torch.empty(shape, dtype=torch.float32, device=labels.device)
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
    """Correctly rounded square roots; float32 ``sqrt`` of the CPU is off by one unit for some numbers."""
    return squares.to(widest_float(squares.device)).sqrt().float()


def _offsets(vertices: Float32[Tensor, "r 3"], steps: int) -> Float32[Tensor, "s r 3"]:
    """Where each step leads, by repeated float32 addition: products or parallel sums round differently."""
    offsets = [vertices]
    for _ in range(steps - 1):
        offsets.append(offsets[-1] + vertices)
    return torch.stack(offsets)


def _addresses(offsets: Float32[Tensor, "s r 3"], shape: Sequence[int], grid: Triple) -> Addresses:
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
