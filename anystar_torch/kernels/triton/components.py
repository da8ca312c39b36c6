"""Connected components on a GPU: union-find over the runs of equal labels along x, in six launches.

The root of a piece is its first voxel in memory order, and a parent is never a later voxel than its child. Of two runs
that touch, the later root gets the earlier one as its parent by an atomic minimum. A thread that loses a race continues
with the value it found (Komura, Computer Physics Communications 194, 2015; Playne and Hawick, IEEE TPDS 29, 2018).

A cached parent may be old. It is then a later voxel of the same piece, and the atomic minimum returns the true parent.
So the result is exact for every labyrinth.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, int32

from anystar_torch.kernels.triton.label_table import check_voxels
from anystar_torch.kernels.triton.lanes import any_of, block_of_program, lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, blocks, on_device_of, programs

BLOCK = lanes(64, 4096)  # one warp: a block ends when its longest search does
NUMBERED = lanes(1024, 4096)  # voxels of a block that numbers its roots


@triton.jit
def _runs(labels, parent, size, voxels, width, BLOCK: tl.constexpr):
    """Parent: the first voxel of its run along x, -1 in the background. Size, at that voxel: the length of the run."""
    sample, voxel, inside, place = voxels_of_program(voxels, BLOCK)
    first, field = sample * voxels, labels + place
    own = tl.load(field, mask=inside, other=0)
    x = voxel % width
    back = tl.zeros_like(voxel)
    searching = (own > 0) & (x > 0)
    going = any_of(searching)
    while going > 0:
        searching = searching & (tl.load(field - back - 1, mask=searching, other=0) == own)
        back += searching.to(tl.int32)
        searching = searching & (back < x)
        going = any_of(searching)
    start = voxel - back
    tl.store(parent + place, tl.where(own > 0, start, -1), mask=inside)
    after = tl.load(field + 1, mask=(own > 0) & (x + 1 < width), other=0)
    tl.store(size + first + start, back + 1, mask=(own > 0) & (after != own))


@triton.jit
def _root(parent, voxel, wanted):
    """The voxel at the end of the chain of parents, of each ``wanted`` voxel."""
    above = tl.load(parent + voxel, mask=wanted, other=0)
    climbing = wanted & (above != voxel)
    going = any_of(climbing)
    while going > 0:
        voxel = tl.where(climbing, above, voxel)
        above = tl.load(parent + voxel, mask=climbing, other=0)
        climbing = climbing & (above != voxel)
        going = any_of(climbing)
    return voxel


@triton.jit
def _join(parent, one, other, wanted):
    """Join the pieces of two voxels, where ``wanted``."""
    going = any_of(wanted)
    while going > 0:
        one, other = _root(parent, one, wanted), _root(parent, other, wanted)
        early, late = tl.minimum(one, other), tl.maximum(one, other)
        wanted = wanted & (early != late)
        before = tl.atomic_min(parent + late, early, mask=wanted, sem="relaxed")
        wanted = wanted & (before != late)  # else it was a root, and the earlier one is its parent now
        one, other = tl.where(wanted, before, one), early
        going = any_of(wanted)


@triton.jit
def _join_runs(labels, parent, depth, height, width, BLOCK: tl.constexpr):
    """Join each run with the runs that touch it in the four lines before it, once, where the contact begins."""
    voxels = depth * height * width
    sample, voxel, inside, place = voxels_of_program(voxels, BLOCK)
    field, parent = labels + place, parent + sample * voxels
    own = tl.load(field, mask=inside, other=0)
    x, y, z = voxel % width, voxel // width % height, voxel // (width * height)
    found = own > 0
    has_left, has_right = x > 0, x + 1 < width
    run_left = found & (tl.load(field - 1, mask=found & has_left, other=0) == own)
    run_right = found & (tl.load(field + 1, mask=found & has_right, other=0) == own)
    for line in range(4):
        over, up = line // 3 - 1, line % 3 - 1  # (z, y): (-1, -1), (-1, 0), (-1, 1), (0, -1)
        shift = (over * height + up) * width
        there = found & (z + over >= 0) & (y + up >= 0) & (y + up < height)
        middle = there & (tl.load(field + shift, mask=there, other=0) == own)
        left = there & has_left
        left = left & (tl.load(field + (shift - 1), mask=left, other=0) == own)
        right = there & has_right & (middle == 0) & (run_right == 0)
        right = right & (tl.load(field + (shift + 1), mask=right, other=0) == own)
        # where both runs continue to the left, they touch there too
        near = (middle | left) & ((run_left & left) == 0) & (middle | (run_left == 0))
        _join(parent, voxel, voxel + shift - tl.where(middle, 0, 1), near)
        _join(parent, voxel, voxel + (shift + 1), right)


@triton.jit
def _sum_sizes(labels, parent, size, voxels, width, BLOCK: tl.constexpr):
    """Make the root of every run its parent, and add its length to the size of the root."""
    sample, voxel, inside, place = voxels_of_program(voxels, BLOCK)
    field, parent, size = labels + place, parent + sample * voxels, size + sample * voxels
    own = tl.load(field, mask=inside, other=0)
    before = tl.load(field - 1, mask=(own > 0) & (voxel % width > 0), other=0)
    start = (own > 0) & (before != own)
    root = _root(parent, voxel, start)
    start = start & (root != voxel)
    tl.store(parent + voxel, root, mask=start)
    length = tl.load(size + voxel, mask=start, other=0)
    tl.atomic_add(size + root, length, mask=start, sem="relaxed")


@triton.jit
def _number_roots(parent, size, counts, voxels, least, BLOCK: tl.constexpr):
    """Size, at a root: number of kept roots before it in its block, or -1. Count: number of kept roots of a block."""
    sample, voxel, inside, place = voxels_of_program(voxels, BLOCK)
    root = tl.load(parent + place, mask=inside, other=-1) == voxel
    kept = root & (tl.load(size + place, mask=root, other=0) >= least)
    kept = kept.to(tl.int32)
    name = tl.where(kept > 0, tl.cumsum(kept, 0) - 1, -1)
    tl.store(size + place, name, mask=root)
    block, number = block_of_program(), tl.cdiv(voxels, BLOCK)
    tl.store(counts + sample * number + block, tl.sum(kept, 0), mask=block < number)


@triton.jit
def _sum_counts(counts, number, BLOCK: tl.constexpr):
    """Number of kept roots before each block, in place; one program per sample."""
    counts += tl.program_id(0).to(tl.int64) * number
    before = 0
    for start in range(0, number, BLOCK):
        place = start + tl.arange(0, BLOCK)
        count = tl.load(counts + place, mask=place < number, other=0)
        tl.store(counts + place, before + tl.cumsum(count, 0) - count, mask=place < number)
        before += tl.sum(count, 0)


@triton.jit
def _name(parent, numbers, counts, out, voxels, BLOCK: tl.constexpr):
    """The number of each voxel's root."""
    sample, _, inside, place = voxels_of_program(voxels, BLOCK)
    start = tl.load(parent + place, mask=inside, other=-1)
    root = tl.load(parent + sample * voxels + start, mask=start >= 0, other=0)
    number = tl.load(numbers + sample * voxels + root, mask=start >= 0, other=-1)
    counts += sample * tl.cdiv(voxels, BLOCK)
    before = tl.load(counts + root // BLOCK, mask=number >= 0, other=0)
    tl.store(out + place, tl.where(number >= 0, before + number + 1, 0), mask=inside)


def connected_components(labels: Tensor, least: int) -> Tensor:
    """Ids of the connected pieces that have at least ``least`` voxels.

    Args:
        labels: contiguous int32 ``[B, 1, D, H, W]``; 0 and below is background.
        least: voxels.

    Returns:
        int32 of the same shape: 1, 2, 3, ... in the order of each piece's first voxel, 0 elsewhere.
    """
    out = empty(labels.shape, dtype=int32, device=labels.device)
    if labels.numel() == 0:
        return out
    samples, voxels, (depth, height, width) = len(labels), check_voxels(labels), labels.shape[2:]
    parent, size = empty(2, *labels.shape, dtype=int32, device=labels.device)
    number = blocks(voxels, NUMBERED)
    counts = empty(samples, number, dtype=int32, device=labels.device)
    small, large = programs(samples, voxels, BLOCK), programs(samples, voxels, NUMBERED)
    least = min(max(least, 0), 2**31 - 1)
    with on_device_of(labels):
        _runs[small](labels, parent, size, voxels, width, BLOCK=BLOCK, num_warps=1, enable_fp_fusion=False)
        _join_runs[small](
            labels, parent, depth, height, width, BLOCK=BLOCK, num_warps=1, enable_fp_fusion=False
        )
        _sum_sizes[small](
            labels, parent, size, voxels, width, BLOCK=BLOCK, num_warps=1, enable_fp_fusion=False
        )
        _number_roots[large](parent, size, counts, voxels, least, BLOCK=NUMBERED, enable_fp_fusion=False)
        _sum_counts[(samples,)](counts, number, BLOCK=NUMBERED, enable_fp_fusion=False)
        _name[large](parent, size, counts, out, voxels, BLOCK=NUMBERED, enable_fp_fusion=False)
    return out


_POINTERS = dict.fromkeys(("labels", "parent", "size", "numbers", "counts", "out"), "*i32")
_SIZES = dict.fromkeys(("voxels", "depth", "height", "width", "least", "number"), "i32")


def _specialised(kernel, block: int, num_warps: int = 4) -> Specialisation:
    types = {name: kind for name, kind in (_POINTERS | _SIZES).items() if name in kernel.arg_names}
    return Specialisation(kernel, types, {"BLOCK": block}, num_warps)


SPECIALISATIONS = {
    "components.runs": _specialised(_runs, BLOCK, 1),
    "components.join_runs": _specialised(_join_runs, BLOCK, 1),
    "components.sum_sizes": _specialised(_sum_sizes, BLOCK, 1),
    "components.number_roots": _specialised(_number_roots, NUMBERED),
    "components.sum_counts": _specialised(_sum_counts, NUMBERED),
    "components.name": _specialised(_name, NUMBERED),
}
