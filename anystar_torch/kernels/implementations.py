"""Choice of the implementation of a kernel by device."""

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch

Implementation = Literal["native", "triton", "torch"]

_FORCED: ContextVar[Implementation | None] = ContextVar("implementation", default=None)


class MissingTritonWarning(UserWarning):
    """Triton is not installed: a GPU runs the torch operators, which are many times slower."""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def implementation(device: torch.device) -> Implementation:
    """Name of the implementation for tensors on ``device``.

    It is ``native`` (C++) on the CPU, and ``triton`` on CUDA (NVIDIA and ROCm) and XPU. ``meta`` tensors get ``triton``
    too, so that they count the operators of CUDA. All other devices, and GPUs without Triton, get ``torch``.

    Args:
        device: of the tensors.
    """
    forced = None if torch.compiler.is_compiling() else _FORCED.get()  # torch.compile cannot trace it
    if forced is not None:
        return forced
    if device.type == "cpu":
        return "native"
    if device.type == "meta":
        return "triton"
    if device.type in ("cuda", "xpu"):
        return "triton" if _has_triton() else "torch"
    return "torch"


@contextmanager
def forced(name: Implementation) -> Iterator[None]:
    """Use implementation ``name`` on every device inside the block, for tests and comparisons.

    ``triton`` on CPU tensors needs Triton's interpreter: set ``TRITON_INTERPRET=1`` before a kernel is imported.

    Args:
        name: of the implementation.
    """
    token = _FORCED.set(name)
    try:
        yield
    finally:
        _FORCED.reset(token)


@cache
def _has_triton() -> bool:
    if importlib.util.find_spec("triton") is not None:
        return True
    warnings.warn(
        "Triton is not installed: the GPU runs plain torch operators, many times slower; pip install triton",
        MissingTritonWarning,
        stacklevel=2,
    )
    return False
