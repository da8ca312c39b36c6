"""What the kernels share: the call of a C++ function, and the layout of arguments and results."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def run_native(
    name: str, volumes: Tensor, *arguments: Tensor | int, kind: torch.dtype = torch.float32
) -> Tensor:
    """Result of a C++ function, a new tensor of the shape of ``volumes`` on the CPU.

    Args:
        name: name of the function in ``anystar_torch.kernels._native``.
        volumes: its first argument, ``[N, D, H, W]``. It is copied if it has gaps.
        arguments: its other arguments. A tensor is copied if it has gaps, except for volumes ``[N, D, H, W]`` whose
            samples are contiguous: there the C++ function accepts any distance between samples.
        kind: number type of the result.
    """
    from anystar_torch.kernels import _native

    out = torch.empty(volumes.shape, dtype=kind)
    if not len(volumes):  # NumPy gives an empty array any distances between its elements
        return out
    others = [_array(value) if isinstance(value, Tensor) else value for value in arguments]
    getattr(_native, name)(_gapless(volumes), *others, out.numpy(), torch.get_num_threads())
    return out


def _array(value: Tensor) -> object:
    apart = value.dim() == 4 and len(value) > 0 and value[0].is_contiguous()
    return value.detach().numpy() if apart else _gapless(value)


def _gapless(value: Tensor) -> object:
    return value.contiguous().detach().numpy()


def equally_strided(*volumes: Tensor) -> list[Tensor]:
    """Volumes ``[B, 1, D, H, W]`` with contiguous samples and one distance between samples, copied if need be."""
    fits = all(len(volume) == 0 or volume[0].is_contiguous() for volume in volumes)
    if fits and len({volume.stride(0) for volume in volumes}) == 1:
        return list(volumes)
    return [volume.contiguous() for volume in volumes]


def like_first(first: Tensor, *others: object) -> Tensor:
    """Fake result of a kernel whose result has the shape and type of its first argument, without gaps.

    Args:
        first: the first argument of the kernel.
        others: its other arguments, not used.
    """
    return first.new_empty(first.shape)


def native_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor as a contiguous array in host memory, copied only where it has to be.

    Args:
        tensor: any shape, on any device.
    """
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array


def on_grid(labels: Tensor, channels: int | torch.SymInt, grid: Sequence[int]) -> list[int | torch.SymInt]:
    """Shape ``[B, channels, ceil(D / grid), ...]`` of a result at every n-th voxel of the labels.

    Args:
        labels: ``[B, 1, D, H, W]``.
        channels: channels of the result.
        grid: n along (z, y, x).
    """
    sizes = zip(labels.shape[2:], grid, strict=True)
    return [labels.shape[0], channels, *((size + step - 1) // step for size, step in sizes)]
