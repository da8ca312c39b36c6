"""Star distances on a GPU: a program follows the rays of a tile of grid points through the labels.

Same bits as ``csrc/star_distances.hpp``: float32 sums in the same order, rounded half to even, and a correctly rounded
square root. Labels are read through the caches, the distances are written once, consecutive along x.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.lanes import any_of, block_of_program, lanes
from anystar_torch.kernels.triton.launch import Specialisation, blocks, on_device_of, programs

# One warp a tile: its points lie together, so that they finish together, and its threads wait for no other warp.
TILE_Z, TILE_Y, TILE_X = lanes(1, 16), lanes(4, 16), lanes(16, 32)
RAYS = lanes(8, 128)  # rays of one program: its points are read once
LONGEST_AXIS = 1 << 21  # voxels; twice that is the largest number that `nearest` rounds


@triton.jit
def nearest(x):
    """The nearest integer, half to even, of float32 numbers between -2^22 and 2^22.

    Added to 1.5 * 2^23, a number loses its fraction to the rounding of the sum, whose bits end in the integer.
    """
    return (x + 12582912.0).to(tl.int32, bitcast=True) - 0x4B400000


@triton.jit
def _walk(labels, own, z, y, x, unit_z, unit_y, unit_x, depth, height, width, steps):
    """Squared length of the first step from each point that meets another label; 0 in the background."""
    start_z, start_y, start_x = z.to(tl.float32), y.to(tl.float32), x.to(tl.float32)
    offset_z, offset_y, offset_x = unit_z, unit_y, unit_x
    walking = own > 0
    square = tl.zeros_like(start_x)
    going = any_of(walking)
    step = 1
    while going > 0:
        to_z = nearest(offset_z).to(tl.float32)
        to_y = nearest(offset_y).to(tl.float32)
        to_x = nearest(offset_x).to(tl.float32)
        square = tl.where(walking, to_z * to_z + to_y * to_y + to_x * to_x, square)
        at_z, at_y, at_x = (
            nearest(start_z + offset_z),
            nearest(start_y + offset_y),
            nearest(start_x + offset_x),
        )
        end = tl.where((at_z >= 0) & (at_z < depth), width, 0)  # outside of these planes no x is inside
        walking = walking & (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < end)
        plane = labels + at_z.to(tl.int64) * height * width
        walking = walking & (tl.load(plane + (at_y * width + at_x), mask=walking, other=0) == own)
        offset_z += unit_z
        offset_y += unit_y
        offset_x += unit_x
        going = tl.where(step < steps, any_of(walking), 0)
        step += 1
    return square


@triton.jit
def _star_distances(
    labels,
    vertices,
    out,
    depth,
    height,
    width,
    grid_z,
    grid_y,
    grid_x,
    points_z,
    points_y,
    points_x,
    rays,
    steps,
    RAYS: tl.constexpr,
    TILE_Z: tl.constexpr,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
):
    across, down = tl.cdiv(points_x, TILE_X), tl.cdiv(points_y, TILE_Y)
    tile, groups = block_of_program(), tl.cdiv(rays, RAYS)
    point = tl.arange(0, TILE_Z * TILE_Y * TILE_X)
    x = tile % across * TILE_X + point % TILE_X
    y = tile // across % down * TILE_Y + point // TILE_X % TILE_Y
    z = tile // (across * down)
    if TILE_Z > 1:  # else z is the same number for all points
        z = z * TILE_Z + point // (TILE_Y * TILE_X)
    exists = (x < tl.where(z < points_z, points_x, 0)) & (y < points_y)
    sample = (tl.program_id(0) // groups).to(tl.int64)
    field = labels + sample * depth * height * width
    plane = field + (z * grid_z).to(tl.int64) * height * width
    own = tl.load(plane + (y * grid_y * width + x * grid_x), mask=exists, other=0)
    first = tl.program_id(0) % groups * RAYS
    for ray in range(first, tl.minimum(first + RAYS, rays)):
        unit = vertices + ray * 3
        square = _walk(
            field,
            own,
            z * grid_z,
            y * grid_y,
            x * grid_x,
            tl.load(unit),
            tl.load(unit + 1),
            tl.load(unit + 2),
            depth,
            height,
            width,
            steps,
        )
        slice_of_ray = out + ((sample * rays + ray) * points_z + z) * points_y * points_x
        tl.store(slice_of_ray + (y * points_x + x), tl.sqrt_rn(square), mask=exists)


def star_distances(labels: Tensor, vertices: Tensor, grid: tuple[int, int, int], steps: int) -> Tensor:
    """Distances from every grid point to the border of its object, along each ray.

    Args:
        labels: contiguous int32 ``[B, 1, D, H, W]``.
        vertices: contiguous float32 ``[R, 3]``, unit directions.
        grid: keep every n-th voxel along (z, y, x).
        steps: after so many a ray ends where it is; unit directions have left the volume before.

    Returns:
        float32 ``[B, R, ceil(D / grid), ...]``, voxels.
    """
    shape, rays = labels.shape[2:], len(vertices)
    if max(shape) > LONGEST_AXIS:
        raise ValueError(
            f"labels must have at most {LONGEST_AXIS} voxels along each axis, got {tuple(shape)}"
        )
    d, h, w = (blocks(size, step) for size, step in zip(shape, grid, strict=True))
    out = empty(len(labels), rays, d, h, w, dtype=float32, device=labels.device)
    if out.numel() == 0:
        return out
    tiles = blocks(d, TILE_Z) * blocks(h, TILE_Y) * blocks(w, TILE_X)
    groups = blocks(rays, RAYS)
    with on_device_of(labels):
        _star_distances[programs(len(labels) * groups, tiles, 1)](
            labels,
            vertices,
            out,
            *shape,
            *grid,
            d,
            h,
            w,
            rays,
            steps,
            RAYS=RAYS,
            TILE_Z=TILE_Z,
            TILE_Y=TILE_Y,
            TILE_X=TILE_X,
            num_warps=1,
            enable_fp_fusion=False,
        )
    return out


_SIZES = "depth height width grid_z grid_y grid_x points_z points_y points_x rays steps".split()  # noqa: SIM905
SPECIALISATIONS = {
    "star_distances": Specialisation(
        _star_distances,
        {"labels": "*i32", "vertices": "*fp32", "out": "*fp32"} | dict.fromkeys(_SIZES, "i32"),
        {"RAYS": RAYS, "TILE_Z": TILE_Z, "TILE_Y": TILE_Y, "TILE_X": TILE_X},
        num_warps=1,
    )
}
