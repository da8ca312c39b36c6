"""How much memory a network takes per voxel, found without computing anything.

The network is traced once on the ``meta`` device, where tensors have sizes and no values, and the bytes alive
at any time are counted.
"""

import copy
import itertools
import math
import weakref
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anystar_torch.inference.scale import Triple

_TRACED = (192, 64, 64)  # voxels, at least: layers before the grid see slabs of it, so its depth matters
_FLAT = (48, 64, 64)  # voxels, at least, with which layers before the grid see all of a box
_SLACK = 1.75  # measured peak over traced peak on the CPU, where convolutions reorder their input into a copy


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operators have made and nothing has dropped, and the largest tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.largest = 0
        self.seen: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.largest = max(self.largest, leaf.numel())
                key = storage._cdata
                if key not in self.seen:
                    self.seen[key] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._drop, key)
        self.peak = max(self.peak, self.now)
        return result

    def _drop(self, key: int) -> None:
        self.now -= self.seen.pop(key, 0)


def bytes_per_voxel(network: nn.Module, divisor: Triple) -> float:
    """Peak bytes per input voxel of one forward pass, in float32, weights left out."""
    shape = _up(_TRACED, divisor)
    return _SLACK * float(_traced(network, shape).peak) / math.prod(shape)


def elements_per_voxel(network: nn.Module, divisor: Triple) -> float:
    """Elements, per input voxel, of the largest tensor in a forward pass.

    Traced on a flat box, which the layers before the grid see at once: of a deeper one they see slabs.
    """
    shape = _up(_FLAT, divisor)
    return _traced(network, shape).largest / math.prod(shape)


def _up(shape: Triple, divisor: Triple) -> Triple:
    z, y, x = (-(-size // d) * d for size, d in zip(shape, divisor, strict=True))
    return z, y, x


def _traced(network: nn.Module, shape: Triple) -> _Alive:
    """What a forward pass over a box allocates."""
    # A copy whose weights are on meta from the start: nothing large is copied, and the network itself, which
    # another thread may be using, is not touched.
    memo: dict[int, Any] = {}
    for weight in itertools.chain(network.parameters(), network.buffers()):
        on_meta = weight.detach().to("meta")
        memo[id(weight)] = nn.Parameter(on_meta) if isinstance(weight, nn.Parameter) else on_meta
    image = torch.empty(1, 1, *shape, device="meta")
    alive = _Alive()
    with torch.inference_mode(), alive:
        copy.deepcopy(network, memo)(image)
    return alive
