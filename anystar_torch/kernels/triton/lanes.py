"""Helpers inside of kernels: conditions over a block, and the size of blocks."""

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
