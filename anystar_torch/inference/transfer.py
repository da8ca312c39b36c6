"""Copies between the processor's memory and the device's.

On CUDA a copy is asynchronous only from or to page-locked ("pinned") memory; any other copy makes the host wait until
all work that was launched before it is done. Everything that a tile needs therefore goes through pinned memory, and
every result comes back into it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@runtime_checkable
class Transfer(Protocol):
    """How arrays reach a device, and how results come back.

    Attributes:
        overlapped: whether the host may go on while the device computes, so that the next tile is launched before the
            candidates of this one are collected.
    """

    overlapped: bool

    def upload(self, array: NDArray[Any]) -> Tensor:
        """The array on the device, of the same type."""
        ...

    def voxels(self, crop: NDArray[Any]) -> Tensor:
        """A piece of a volume on the device as float32, in memory of its own."""
        ...

    def later(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Start to copy a small tensor to the host; what is returned waits for it."""
        ...

    def fetch(self, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
        """Copy to the host what is computed already, without waiting for what was launched since."""
        ...


class Direct:
    """Copies that the host waits for: the processor itself, and devices without pinned memory."""

    overlapped = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def upload(self, array: NDArray[Any]) -> Tensor:
        """The array on the device, of the same type; on the CPU it shares the array's memory."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def voxels(self, crop: NDArray[Any]) -> Tensor:
        """Float32 on the device; converted on the host, which is the device or shares its memory with it."""
        with np.errstate(
            over="ignore"
        ):  # what float32 cannot hold becomes infinite: an end of the grey values
            return torch.from_numpy(np.array(crop, dtype=np.float32, order="C")).to(self.device)

    def later(self, tensor: Tensor) -> Callable[[], Tensor]:
        """The tensor on the host."""
        return tensor.cpu

    def fetch(self, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
        """The tensors as arrays."""
        return [tensor.cpu().numpy() for tensor in tensors]


class Pinned:
    """Copies through pinned memory, for CUDA: the host never waits for work that was launched later.

    Voxels travel in the volume's own type where that has at most two bytes or is float32, and become float32 on the
    device. Types of four bytes and more are converted on the host: float32 is half as much to copy.
    """

    overlapped = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # results are copied beside what was launched since

    def upload(self, array: NDArray[Any]) -> Tensor:
        """The array on the device, of the same type."""
        return staged(array, pin=True).to(self.device, non_blocking=True)

    def voxels(self, crop: NDArray[Any]) -> Tensor:
        """Float32 on the device; converted there."""
        return as_float(staged(travelling(crop), pin=True).to(self.device, non_blocking=True), crop.dtype)

    def later(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Start the copy behind the work that computes the tensor."""
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            done.synchronize()
            return host

        return wait

    def fetch(self, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
        """Copy on a stream of its own; the tensors must be computed (see :meth:`later`) and kept until this returns."""
        with torch.cuda.stream(self._stream):
            pinned = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            for host, tensor in zip(pinned, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return [host.numpy().copy() for host in pinned]  # pinned memory is scarce: it goes back at once


@lru_cache(maxsize=16)
def transfer_to(device: torch.device) -> Transfer:
    """The copies that suit a device."""
    return Pinned(device) if device.type == "cuda" else Direct(device)


def travelling(crop: NDArray[Any]) -> NDArray[Any]:
    """What is copied to a GPU for a piece of a volume: float32 for wide types, uint16 under the name of int16."""
    if crop.dtype.itemsize > 4 or (crop.dtype.kind in "iu" and crop.dtype.itemsize == 4):
        with np.errstate(over="ignore"):
            return crop.astype(np.float32)
    native = crop.astype(crop.dtype.newbyteorder("="), copy=False)
    return native.view(np.int16) if native.dtype == np.uint16 else native


def as_float(travelled: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Float32 of what :func:`travelling` made of voxels of ``dtype``.

    uint16 goes by the name of int16, because few operators of torch take uint16.
    """
    if dtype.kind == "u" and dtype.itemsize == 2:
        return travelled.int().bitwise_and_(0xFFFF).float()
    return travelled.float()


def staged(array: NDArray[Any], pin: bool) -> Tensor:
    """The array in contiguous memory of the host, pinned or not, in the machine's byte order."""
    dtype = torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
    host = torch.empty(array.shape, dtype=dtype, pin_memory=pin)
    np.copyto(host.numpy(), array)
    return host
