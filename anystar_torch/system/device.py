"""The device a network runs on, and the precision it computes in."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.torch_version import TorchVersion

from anystar_torch.system.errors import first_line
from anystar_torch.system.precision import multiplies_bf16

_MPS_SINCE = "2.9"
"""Version of torch from which MPS has the operators of volumes: pooling, interpolation, transposed convolution."""


def resolve(device: str | torch.device) -> torch.device:
    """The device of a name.

    Args:
        device: a device or a name that torch knows, or "auto" for the first of cuda, mps (from torch 2.9 on) and cpu
            that is available.

    Raises:
        ValueError: torch does not know the device, it is not available, or this torch cannot use it for volumes.
    """
    device = str(device)
    mps_computes = TorchVersion(torch.__version__) >= _MPS_SINCE
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if mps_computes and torch.backends.mps.is_available() else "cpu")
    if device.partition(":")[0] == "mps" and not mps_computes:
        raise ValueError(f"device {device!r} needs torch {_MPS_SINCE} or later, this is {torch.__version__}")
    try:
        place = torch.device(device)
        torch.empty(1, device=place).cpu()  # "meta" tensors have no values to copy
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error).partition(". ")[0]  # torch lists all its backends after it
        raise ValueError(f"device {device!r} cannot be used here: {reason}") from error
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


def preferred_precision(device: torch.device) -> torch.dtype:
    """The fastest number type of convolutions: float16 on a GPU, bfloat16 on a CPU with AMX, float32 elsewhere.

    On a GPU float16 is preferred to bfloat16 because distances keep about one more decimal digit, and activations of a
    network with batch normalisation stay far below 65504. Sigmoid, distances and all later steps are float32.

    Args:
        device: that the network runs on.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and multiplies_bf16() else torch.float32


def without_overflow(kind: torch.dtype, network: nn.Module) -> torch.dtype:
    """A number type whose range suffices for a network.

    Without batch normalisation, as in many imported networks, activations are not bounded and may exceed 65504, the
    largest number of float16.

    Args:
        kind: the preferred type.
        network: that computes in it.

    Returns:
        ``kind``; bfloat16 or float32 in place of float16 for a network without batch normalisation.
    """
    if kind != torch.float16 or any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()
    ):
        return kind
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32


_LOCK = threading.Lock()
_inside = 0
_restore: list[Callable[[], None]] = []


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 products in float32 within this context, and not in TensorFloat-32, which has 10 bits.

    The settings belong to the process. The first thread that enters changes them; the last that leaves restores them.
    """
    global _inside, _restore
    with _LOCK:
        if _inside == 0:
            _restore = _forbid_tensorfloat()
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                for restore in _restore:
                    restore()


def _forbid_tensorfloat() -> list[Callable[[], None]]:
    """Forbid TensorFloat-32, and return functions that restore the settings of before."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.9 recommends the newer setting, which earlier ones lack
            convolutions, products = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # the program uses the newer setting of torch 2.9, and torch refuses to mix both
        before = [(place, place.fp32_precision) for place in (cudnn.conv, matmul)]
        for place, _ in before:
            place.fp32_precision = "ieee"
        return [partial(setattr, place, "fp32_precision", value) for place, value in before]
    restore: list[Callable[[], None]] = []
    if convolutions:
        cudnn.allow_tf32 = False
        restore.append(partial(setattr, cudnn, "allow_tf32", True))
    if products != "highest":  # "high" or "medium", which matmul.allow_tf32 does not tell apart
        torch.set_float32_matmul_precision("highest")
        restore.append(partial(torch.set_float32_matmul_precision, products))
    return restore


@contextmanager
def made_on_cpu() -> Iterator[None]:
    """Make tensors without a given device on the CPU, also where the program has another default device."""
    with torch.device("cpu") if torch.get_default_device().type != "cpu" else nullcontext():
        yield


@contextmanager
def refusing_synchronisation() -> Iterator[None]:
    """Raise RuntimeError inside the block if the host would wait for a CUDA device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def largest_tensor(device: torch.device) -> int:
    """The largest number of elements of a float32 tensor on a GPU.

    Operators of CUDA count in 32 bits; a buffer of Metal has at most 2^32 bytes.

    Args:
        device: of the tensor.
    """
    return (1 << 32) // 4 - 1 if device.type == "mps" else (1 << 31) - 1


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that the device's memory is full. cuDNN, cuBLAS and MPS have their own messages.

    Where the workspace of no algorithm fits into memory, torch says that cuDNN has no engine for the convolution.

    Args:
        error: any error of torch.
    """
    words = str(error)
    known = (
        "out of memory",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "unable to find an engine",
    )
    return isinstance(error, torch.OutOfMemoryError) or any(word in words for word in known)


def release(device: torch.device) -> None:
    """Give memory back to the device that torch caches and no tensor uses.

    Args:
        device: CUDA or MPS; nothing happens for others.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
