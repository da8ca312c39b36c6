"""Choice of the implementation of a kernel by device."""

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch

Implementation = Literal["native", "triton", "torch"]

_FORCED: ContextVar[Implementation | None] = ContextVar("implementation", default=None)


_LEAST_CAPABILITY = 7, 0
"""Compute capability from which the atomic operations of the kernels exist (Volta). Pascal has 6.0 and 6.1."""


_BROKEN_ON_AMD = ("3.5.", "3.6.")
"""Versions of Triton whose compiler stops at an atomic exchange of several elements per thread on AMD GPUs."""


class MissingTritonWarning(UserWarning):
    """Triton is not installed or cannot serve a GPU, which then runs the torch operators, many times slower."""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def implementation(device: torch.device) -> Implementation:
    """Name of the implementation for tensors on ``device``.

    It is ``native`` (C++) on the CPU, and ``triton`` on CUDA (NVIDIA and ROCm) and XPU. ``meta`` tensors get ``triton``
    too, so that they count the operators of CUDA. All other devices get ``torch``, and so do GPUs
    that Triton cannot serve: where it or a C compiler is missing, and GPUs before Volta.

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
        return "torch" if _triton_misses(device) else "triton"
    return "torch"


def widest_float(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: float64, or float32 on MPS.

    Args:
        device: of the tensors.
    """
    return torch.float32 if device.type == "mps" else torch.float64


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
def _triton_misses(device: torch.device) -> str | None:
    """What Triton needs and is missing on a GPU, said in one warning; None where it runs."""
    missing = None
    if importlib.util.find_spec("triton") is None:
        missing = "Triton is not installed (pip install triton)"
    elif sys.platform == "linux" and not _has_compiler():
        missing = "Triton needs a C compiler, gcc or clang"
    elif torch.version.hip is not None:
        if (version := _triton_version()).startswith(_BROKEN_ON_AMD):
            missing = f"Triton {version} cannot compile the kernels for AMD GPUs"
    elif device.type == "cuda" and (found := torch.cuda.get_device_capability(device)) < _LEAST_CAPABILITY:
        missing = f"the Triton kernels need compute capability 7.0, and this GPU has {found[0]}.{found[1]}"
    if missing:
        warnings.warn(
            f"{missing}: the GPU runs plain torch operators, many times slower",
            MissingTritonWarning,
            stacklevel=3,
        )
    return missing


def _triton_version() -> str:
    """The version of Triton, from itself: its package has another name in builds of torch for AMD GPUs."""
    import triton

    return str(triton.__version__)


def _has_compiler() -> bool:
    """Whether there is the C compiler with which Triton builds the code that starts its kernels."""
    return bool(os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"))
