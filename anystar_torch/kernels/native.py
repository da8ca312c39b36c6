"""What the effects with kernels of their own share: the call of a native kernel, and the range of a sample."""

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume


def run_native(name: str, volumes: Tensor, *arguments: Tensor | int) -> Tensor:
    """Result of the native kernel ``name``, a new tensor like ``volumes``: float32 ``[N, D, H, W]`` on the CPU.

    Args:
        name: of the function in ``anystar_torch.kernels._native``.
        volumes: its first argument.
        arguments: the others. Tensors become contiguous, but for fields like ``volumes`` that lie apart.
    """
    from anystar_torch.kernels import _native

    out = torch.empty(volumes.shape)
    arrays = [_array(value) if isinstance(value, Tensor) else value for value in (volumes, *arguments)]
    getattr(_native, name)(*arrays, out.numpy(), torch.get_num_threads())
    return out


def _array(value: Tensor) -> object:
    apart = value.dim() == 4 and value[0].is_contiguous()
    return (value if apart else value.contiguous()).detach().numpy()


def equally_strided(*fields: Tensor) -> list[Tensor]:
    """Fields ``[B, 1, D, H, W]`` as a kernel reads them: without gaps within a sample, equally far apart."""
    fits = all(field[0].is_contiguous() for field in fields)
    if fits and len({field.stride(0) for field in fields}) == 1:
        return list(fields)
    return [field.contiguous() for field in fields]


def intensity_limits(image: Volume) -> Float32[Tensor, "b 2"]:
    """Least and largest value of each sample, ``[B, 2]``."""
    if image.device.type == "cpu":  # torch.aminmax runs on one element at a time there
        return torch.stack([image.amin((1, 2, 3, 4)), image.amax((1, 2, 3, 4))], dim=1)
    return torch.stack(torch.aminmax(image.flatten(1), dim=1), dim=1)
