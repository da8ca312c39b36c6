"""Copies between the memory of the host and that of the device.

On CUDA a copy is asynchronous only from or to page-locked ("pinned") memory. Any other copy makes the host wait until
all work that was launched before has finished. So tiles and results are copied through pinned memory.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor


@runtime_checkable
class Transfer(Protocol):
    """How arrays are copied to a device, and results back to the host.

    Attributes:
        overlapped: whether the host continues while the device computes. The next tiles are then launched before the
            candidates of these are collected.
    """

    overlapped: bool

    def upload(self, array: Shaped[np.ndarray, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The array on the device, of the same type.

        Args:
            array: any array.
        """
        ...

    def upload_voxels(self, crop: Shaped[np.ndarray, "d h w"]) -> Float32[Tensor, "d h w"]:
        """The crop of a volume on the device, in memory of its own.

        Args:
            crop: voxels of any real type.
        """
        ...

    def start_download(self, tensor: Shaped[Tensor, "*shape"]) -> Callable[[], Shaped[Tensor, "*shape"]]:
        """Start to copy a small tensor to the host.

        Args:
            tensor: may still be computed.

        Returns:
            A function that waits for the copy and returns it.
        """
        ...

    def download(self, tensors: Sequence[Tensor]) -> list[Shaped[np.ndarray, "..."]]:
        """Arrays of tensors that are computed already. Does not wait for work that was launched since.

        Args:
            tensors: on the device.
        """
        ...


class Direct:
    """Copies for which the host waits: the CPU itself, and devices without pinned memory.

    Args:
        device: where tensors are.
    """

    overlapped = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def upload(self, array: Shaped[np.ndarray, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The array on the device, of the same type; on the CPU it shares the array's memory.

        Arguments are those of :meth:`Transfer.upload`.
        """
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def upload_voxels(self, crop: Shaped[np.ndarray, "d h w"]) -> Float32[Tensor, "d h w"]:
        """The crop as float32, converted on the host. Values that are too large for float32 become infinite.

        Arguments are those of :meth:`Transfer.upload_voxels`.
        """
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.array(crop, dtype=np.float32, order="C")).to(self.device)

    def start_download(self, tensor: Shaped[Tensor, "*shape"]) -> Callable[[], Shaped[Tensor, "*shape"]]:
        """A function that copies the tensor to the host.

        Arguments are those of :meth:`Transfer.start_download`.
        """
        return tensor.cpu

    def download(self, tensors: Sequence[Tensor]) -> list[Shaped[np.ndarray, "..."]]:
        """The tensors as arrays.

        Arguments are those of :meth:`Transfer.download`.
        """
        return [tensor.cpu().numpy() for tensor in tensors]


class Pinned:
    """Copies through pinned memory, for CUDA: the host never waits for work that was launched later.

    Voxels of at most two bytes and of float32 are copied in their own type and converted on the device. All other types
    are converted on the host, where float32 needs half the copy.

    Args:
        device: where tensors are.
    """

    overlapped = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # results are copied beside what was launched since

    def upload(self, array: Shaped[np.ndarray, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The array on the device, of the same type.

        Arguments are those of :meth:`Transfer.upload`.
        """
        return staged(array, pin=True).to(self.device, non_blocking=True)

    def upload_voxels(self, crop: Shaped[np.ndarray, "d h w"]) -> Float32[Tensor, "d h w"]:
        """The crop as float32, converted on the device.

        Arguments are those of :meth:`Transfer.upload_voxels`.
        """
        on_device = staged(transfer_type(crop), pin=True).to(self.device, non_blocking=True)
        return as_float(on_device, crop.dtype)

    def start_download(self, tensor: Shaped[Tensor, "*shape"]) -> Callable[[], Shaped[Tensor, "*shape"]]:
        """Start the copy after the work that computes the tensor.

        Arguments are those of :meth:`Transfer.start_download`.
        """
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            done.synchronize()
            return host

        return wait

    def download(self, tensors: Sequence[Tensor]) -> list[Shaped[np.ndarray, "..."]]:
        """Copy on a separate stream. The caller keeps the tensors until this returns.

        Arguments are those of :meth:`Transfer.download`.
        """
        with torch.cuda.stream(self._stream):
            pinned = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            for host, tensor in zip(pinned, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return [host.numpy().copy() for host in pinned]  # pinned memory is scarce: it is released at once


@lru_cache(maxsize=16)
def transfer_to(device: torch.device) -> Transfer:
    """The transfer for a device.

    Args:
        device: where tensors are.
    """
    return Pinned(device) if device.type == "cuda" else Direct(device)


def transfer_type(crop: Shaped[np.ndarray, "d h w"]) -> Shaped[np.ndarray, "d h w"]:
    """The crop in the type in which it is copied to a GPU: float32 for wide types, int16 with the bits of uint16.

    Few operators of torch support uint16.

    Args:
        crop: voxels of any real type.
    """
    if crop.dtype.itemsize > 4 or (crop.dtype.kind in "iu" and crop.dtype.itemsize == 4):
        with np.errstate(over="ignore"):
            return crop.astype(np.float32)
    native = crop.astype(crop.dtype.newbyteorder("="), copy=False)
    return native.view(np.int16) if native.dtype == np.uint16 else native


def as_float(copied: Shaped[Tensor, "d h w"], dtype: np.dtype[Any]) -> Float32[Tensor, "d h w"]:
    """The voxels that :func:`transfer_type` prepared, as float32.

    Args:
        copied: the result of :func:`transfer_type`, on a device.
        dtype: type of the voxels before.
    """
    if dtype.kind == "u" and dtype.itemsize == 2:
        return copied.int().bitwise_and_(0xFFFF).float()
    return copied.float()


def staged(array: Shaped[np.ndarray, "*shape"], pin: bool) -> Shaped[Tensor, "*shape"]:
    """The array in contiguous host memory, in the byte order of the machine.

    Args:
        array: any array.
        pin: whether the memory is pinned.
    """
    dtype = torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
    host = torch.empty(array.shape, dtype=dtype, pin_memory=pin)
    np.copyto(host.numpy(), array)
    return host
