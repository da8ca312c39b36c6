"""Helpers inside of kernels: the voxels of a program, conditions over a block, and the size of blocks."""

import os

import triton
import triton.language as tl

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def lanes(compiled: int, interpreted: int) -> int:
    """Elements of a block. The interpreter gets larger blocks, because its time depends on the number of operations.

    Args:
        compiled: elements of a block of a compiled kernel, a power of two.
        interpreted: elements of a block under the interpreter, a power of two.
    """
    return interpreted if INTERPRETED else compiled


@triton.jit
def any_of(condition):
    """1 if ``condition`` holds anywhere in the block, else 0."""
    return tl.max(condition.to(tl.int32), 0)


@triton.jit
def voxels_of_program(count, BLOCK: tl.constexpr):
    """Volume of this program, its voxels, the mask of those that exist, and their places in memory.

    The axes of the grid are those of :func:`anystar_torch.kernels.triton.launch.programs`.
    """
    row = tl.program_id(0).to(tl.int64)
    index = block_of_program() * BLOCK + tl.arange(0, BLOCK)
    return row, index, index < count, row * count + index


@triton.jit
def block_of_program():
    """Number of this program's block in its sample; a few programs have one beyond the last."""
    return tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)


@triton.jit
def vector_at(vectors, row, count, index, mask):
    """Parts z, y, x of the vectors of some voxels, from ``[B, 3, count]``; 0 outside of the mask."""
    place = vectors + row * 3 * count + index
    z = tl.load(place, mask=mask, other=0.0)
    y = tl.load(place + count, mask=mask, other=0.0)
    x = tl.load(place + count + count, mask=mask, other=0.0)
    return z, y, x
