"""Memory of a network per voxel, found without computing anything.

The network is traced once on the ``meta`` device, where tensors have sizes and no values, and the bytes in use are
counted.
"""

import copy
import itertools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anystar_torch.arrays import Triple
from anystar_torch.inference.tiles import padded
from anystar_torch.network.residual_unet import ResidualUNet
from anystar_torch.network.slabs import Box
from anystar_torch.network.stardist import StarDist

_TRACED = (192, 64, 64)  # voxels, at least: layers before the grid process slabs of it, so its depth matters
_TRACED_IN_PARTS = (256, 256, 256)  # voxels, at least: several slabs
_FLAT = (48, 64, 64)  # voxels, at least, of which layers before the grid process all at once
_SLACK_IN_PARTS = 1.25  # only slabs are reordered; measured 0.9
_SLACK = 1.75  # measured peak over traced peak on the CPU, where convolutions reorder their input into a copy


def _joined(parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The result of ``torch.cat`` on meta, with channels last where all parts have them so."""
    size = list(parts[0].shape)
    size[axis] = sum(part.shape[axis] for part in parts)
    last = len(size) == 5 and all(part.is_contiguous(memory_format=torch.channels_last_3d) for part in parts)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    return torch.empty(size, dtype=parts[0].dtype, device="meta", memory_format=layout)


# Results of operators on meta. Torch's own functions for them import its compiler, which takes seconds.
_RESULTS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.batch_norm.default: lambda x, *more: torch.empty_like(x),
    torch.ops.aten.clamp_min.default: lambda x, *more: torch.empty_like(x),
    torch.ops.aten.clamp_min_.default: lambda x, *more: x,
    torch.ops.aten.cat.default: _joined,
}


class _AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages in use, their peak, and the elements of the largest tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.largest = 0
        self.sizes: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: without it torch wraps the method below, and the wrapper imports the compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _RESULTS.get(func, func)(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.largest = max(self.largest, leaf.numel())
                key = storage._cdata
                if key not in self.sizes:
                    self.sizes[key] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._drop, key)
        self.peak = max(self.peak, self.now)
        return result

    def _drop(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)


def bytes_per_voxel(network: nn.Module, divisor: Triple) -> float:
    """Peak bytes per input voxel of one forward pass in float32, without the weights.

    Args:
        network: a network that takes one image.
        divisor: sizes of its inputs are multiples of it.
    """
    shape = padded(_TRACED, divisor)
    return _SLACK * float(_traced(network, shape).peak) / math.prod(shape)


def bytes_of_whole_tiles(network: StarDist, *, overlapped: bool, tta: bool) -> float:
    """Peak bytes per input voxel while whole tiles are predicted in float32, without the weights.

    Args:
        network: the network.
        overlapped: whether candidates of one tile are copied while the next one is computed.
        tta: whether predictions are means over mirror images.
    """
    total = bytes_per_voxel(network, network.divisor)
    points, rays = 1 / math.prod(network.grid), len(network.rays)
    if overlapped:  # candidates of two tiles
        total += 2 * points * (2 * rays + 16)
    if tta:  # the sum of the predictions, and the mirrored box
        total += 4 * points * (rays + 1) + 8
    return total


def bytes_in_parts(network: StarDist) -> tuple[float, float]:
    """Peak bytes per input voxel of :meth:`StarDist.within` in float32, without the weights.

    Args:
        network: the network.

    Returns:
        Bytes of a voxel in the box that is asked for, and of a voxel outside of it.
    """
    shape = padded(_TRACED_IN_PARTS, network.divisor)
    z, y, x = (n // g for n, g in zip(shape, network.grid, strict=True))
    slack = _SLACK_IN_PARTS if isinstance(network.backbone, ResidualUNet) else _SLACK

    def per_voxel(box: Box) -> float:
        return slack * float(_traced(network, shape, box).peak) / math.prod(shape)

    inside = per_voxel(((0, 0, 0), (z, y, x)))
    middle = z // 2, y // 2, x // 2
    return inside, min(inside, per_voxel((middle, (middle[0] + 1, middle[1] + 1, middle[2] + 1))))


def elements_per_voxel(network: nn.Module, divisor: Triple) -> float:
    """Elements of the largest tensor of a forward pass, per input voxel.

    A flat box is traced, which the layers before the grid process at once. They process deeper boxes in slabs.

    Args:
        network: a network that takes one image.
        divisor: sizes of its inputs are multiples of it.
    """
    shape = padded(_FLAT, divisor)
    return _traced(network, shape).largest / math.prod(shape)


def _traced(network: nn.Module, shape: Triple, box: Box | None = None) -> _AllocationCounter:
    """The allocations of a forward pass over an image; or of the prediction in a box of it, in parts."""
    # A copy whose weights are on meta from the start: nothing large is copied, and the network itself, which
    # another thread may use, is not changed.
    memo: dict[int, Any] = {}
    for weight in itertools.chain(network.parameters(), network.buffers()):
        on_meta = weight.detach().to("meta")
        memo[id(weight)] = nn.Parameter(on_meta) if isinstance(weight, nn.Parameter) else on_meta
    image = torch.empty(1, 1, *shape, dtype=torch.float32, device="meta")
    counter = _AllocationCounter()
    with torch.inference_mode(), counter:
        copied = copy.deepcopy(network, memo)
        if box is None:
            copied(image)
        else:
            assert isinstance(copied, StarDist)
            for _ in copied.within(image, box):
                pass
    return counter
