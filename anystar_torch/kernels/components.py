"""Kernel of connected components.

C++: ``csrc/components.hpp``, union-find. Triton: ``triton/components.py``, union-find over runs (Komura, Computer
Physics Communications 194, 2015; Playne and Hawick, IEEE TPDS 29, 2018). :func:`torch_components` is the reference: ten
rounds of propagation. All three give the same bits, unless a piece winds so much that ten rounds do not join it.
"""

import torch
from jaxtyping import Int32
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import like_first, run_native

_ROUNDS = 10  # generated objects need 3 or 4, a serpentine through the volume about 7


def connected_components(labels: Labels, min_voxels: int) -> Labels:
    """A new id for every connected piece of a label that has at least ``min_voxels`` voxels.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        min_voxels: smaller pieces become background.
    """
    run = torch_components if implementation(labels.device) == "torch" else _connected_components
    pieces: Labels = run(labels, min_voxels)
    return pieces


@torch.library.custom_op("anystar::connected_components", mutates_args=())
def _connected_components(labels: Tensor, min_voxels: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton import components

        return components.connected_components(labels.contiguous(), min_voxels)
    volumes = labels.squeeze(1).contiguous()
    return run_native("connected_components", volumes, min_voxels, kind=torch.int32).unsqueeze(1)


_connected_components.register_fake(like_first)


def torch_components(labels: Labels, min_voxels: int = 1) -> Labels:
    """The reference of :func:`connected_components`.

    Arguments are those of :func:`connected_components`.
    """
    shape = labels.shape[2:]
    volume = labels.clamp_min(0).squeeze(1)
    index = torch.arange(shape.numel(), dtype=torch.int32, device=labels.device)
    parent = index.expand(len(labels), -1)
    for _ in range(_ROUNDS):
        least = _least_around(parent.view_as(volume), volume).flatten(1)
        # a root hooks onto the least root that its piece touches, then every voxel jumps towards its root
        parent = parent.scatter_reduce(1, parent.long(), least, "amin")
        parent = parent.gather(1, parent.long())
        parent = parent.gather(1, parent.long())
    root = parent.long()
    sizes = torch.zeros_like(parent).scatter_add_(1, root, torch.ones_like(parent))
    found = (volume.flatten(1) > 0) & (sizes.gather(1, root) >= min_voxels)
    names = ((parent == index) & found).cumsum(1)
    pieces = names.gather(1, root) * found
    return pieces.to(torch.int32).view_as(labels)


def _least_around(
    values: Int32[Tensor, "b d h w"], volume: Int32[Tensor, "b d h w"]
) -> Int32[Tensor, "b d h w"]:
    """The least value among each voxel and those of its 26 neighbours that carry the same label."""
    nothing = torch.iinfo(torch.int32).max
    around = F.pad(values, (1,) * 6, value=nothing)
    labels = F.pad(volume, (1,) * 6, value=-1)
    depth = values.shape[1]
    least = values
    for dz in range(3):  # a slice of neighbours at a time: nine volumes of transient memory
        near = _neighbours(around.narrow(1, dz, depth))
        same = _neighbours(labels.narrow(1, dz, depth)) == volume[..., None, None]
        least = torch.minimum(least, torch.where(same, near, nothing).amin((-2, -1)))
    return least


def _neighbours(padded: Tensor) -> Tensor:
    """Views of the 3 x 3 voxels around each voxel within its slice, ``[B, D, H, W, 3, 3]``."""
    return padded.unfold(2, 3, 1).unfold(3, 3, 1)
