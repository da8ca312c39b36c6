"""Convolutions of small volumes on a CPU.

PyTorch chooses between oneDNN and its own convolution by a rule for images: a single volume goes to oneDNN only if
channels x depth x height exceeds 20480. Below, its own convolution takes two to three times longer per voxel. Thin or
small tiles, and half of the layers of a U-Net, are below.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SmallConvolutions(TorchFunctionMode):
    """A context in which 3D convolutions of one volume in float32 on a CPU are computed by oneDNN, also if it is small.

    Other convolutions are computed as usual. Results differ by rounding. Gradients are not supported.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The result of a function of PyTorch."""
        if func is torch.conv3d and not kwargs:
            result = _by_onednn(*args)
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))


def _by_onednn(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution; None for one that is left to PyTorch. Arguments are those of ``torch.conv3d``."""
    kernel = weight.shape[2:]
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    plain = image.ndim == 5 and image.device.type == "cpu" and image.dtype == weight.dtype == torch.float32
    if not plain or len(image) != 1 or max(kernel) == 1 or not onednn:
        return None
    stride, dilation = _triple(stride), _triple(dilation)
    if padding == "same":
        if stride != (1, 1, 1) or any(k % 2 == 0 for k in kernel):
            return None
        padding = tuple(d * (k // 2) for d, k in zip(dilation, kernel, strict=True))
    elif padding == "valid":
        padding = 0
    result: Tensor = torch.ops.aten.mkldnn_convolution(
        image, weight, bias, _triple(padding), stride, dilation, groups
    )
    return result


def _triple(value: Any) -> tuple[int, int, int]:
    """One number for every axis, or the numbers of the axes, as numbers of the three axes."""
    numbers = (value,) * 3 if isinstance(value, int) else tuple(value)
    z, y, x = numbers * 3 if len(numbers) == 1 else numbers
    return z, y, x
