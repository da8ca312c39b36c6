"""Helpers of launches, and the description of a kernel that its compilation test needs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_ELEMENTS = 2**31 - 2**17
"""Elements of a sample. Kernels number them in 32 bits, and the blocks of a launch exceed them by less than 2^17."""
MOST_PROGRAMS = 65535
"""Programs along the second and the third axis of a grid. CUDA allows 2^31 - 1 along the first."""


@dataclass(frozen=True)
class Specialisation:
    """Types and constants of one launch of a kernel, from which it compiles without a GPU.

    Every launch has ``enable_fp_fusion=False``: a multiplication and an addition are two roundings, as in C++. The
    default differs between versions of Triton.

    Attributes:
        kernel: the ``triton.jit`` function.
        types: argument name -> Triton type, for example ``{"out": "*fp32", "size": "i32"}``.
        constants: name -> value of the ``constexpr`` arguments.
        num_warps: warps per program.
    """

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    num_warps: int = 4


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Make the GPU of the tensor the current one, because Triton launches on the current device.

    Args:
        tensor: on any device; nothing is changed for one that is no GPU.
    """
    if tensor.device.type == "xpu":
        return torch.xpu.device(tensor.device)
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else nullcontext()


def blocks(count: int, size: int) -> int:
    """Number of blocks of ``size`` that cover ``count`` elements.

    Args:
        count: number of elements.
        size: elements of a block, positive.

    Raises:
        ValueError: more than :data:`MOST_ELEMENTS` elements.
    """
    if count > MOST_ELEMENTS:
        raise ValueError(f"a sample must have at most {MOST_ELEMENTS} elements on a GPU, got {count}")
    return -(-count // size)


def programs(samples: int, count: int, size: int) -> tuple[int, int, int]:
    """Grid of a launch with a program for each block of ``size`` of the ``count`` elements of every sample.

    Samples are on the first axis. Blocks are on the other two, because one of them does not hold those of a large
    volume. Fewer blocks than the third axis has programs lie beyond the last element.

    Args:
        samples: number of samples.
        count: elements of a sample.
        size: elements of a block, positive.

    Raises:
        ValueError: more than :data:`MOST_ELEMENTS` elements.
    """
    wanted = blocks(count, size)
    layers = max(blocks(wanted, MOST_PROGRAMS), 1)
    return samples, blocks(wanted, layers), layers


def elements(volumes: Tensor) -> int:
    """Number of elements of one sample, also where there is no sample.

    Args:
        volumes: ``[B, ...]``.
    """
    return volumes.shape[1:].numel()
