"""Where the network runs: the device of a name and the precision it computes in."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anystar_torch.system.precision import multiplies_bf16


def resolve(device: str) -> torch.device:
    """The device of a name; "auto" is the best there is.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place).cpu()  # "meta" has no values to give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


def precision(device: torch.device) -> torch.dtype:
    """What convolutions compute in: float16 on a GPU, bfloat16 on a CPU that multiplies matrices in it, else float32.

    float16 and not bfloat16 on the GPU: distances keep two more digits, and nothing in a normalised network comes near
    its largest number. Sigmoid, distances and everything after them are float32 everywhere.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and multiplies_bf16() else torch.float32


def without_overflow(kind: torch.dtype, network: nn.Module) -> torch.dtype:
    """``kind``, or a type of float32's range where float16 may overflow: in a network without batch normalisation.

    Nothing bounds the activations of such a network (many imported ones are), and float16 ends at 65504.
    """
    if kind != torch.float16 or any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()
    ):
        return kind
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32


_LOCK = threading.Lock()
_inside = 0
_before: list[tuple[Any, str, Any]] = []


@contextmanager
def exact_float32() -> Iterator[None]:
    """Float32 means float32: no TensorFloat-32, whose products have 10 bits, within this context.

    The settings belong to the process: they are changed by the first thread that enters and restored by the last that
    leaves.
    """
    global _inside, _before
    with _LOCK:
        if _inside == 0:
            _before = _tensorfloat_settings()
            for place, name, _ in _before:
                setattr(place, name, False if name == "allow_tf32" else "ieee")
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                for place, name, value in _before:
                    setattr(place, name, value)


def _tensorfloat_settings() -> list[tuple[Any, str, Any]]:
    """Object, attribute and value of each setting that allows TensorFloat-32."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    try:
        return [(place, "allow_tf32", place.allow_tf32) for place in (cudnn, matmul)]
    except (
        RuntimeError
    ):  # somebody used the setting that torch has had since 2.9, and torch refuses to mix them
        return [(place, "fp32_precision", place.fp32_precision) for place in (cudnn.conv, matmul)]


def largest_tensor(device: torch.device) -> int:
    """Elements a float32 tensor may have on a GPU: operators count in 32 bits, Metal's buffers end at 2^32 bytes."""
    return (1 << 32) // 4 - 1 if device.type == "mps" else (1 << 31) - 1


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that the device's memory is full; cuDNN, cuBLAS and MPS have words of their own."""
    words = str(error)
    known = ("out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in words for word in known)


def release(device: torch.device) -> None:
    """Give memory that torch caches, and no tensor uses, back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
