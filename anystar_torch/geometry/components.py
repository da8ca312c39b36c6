"""Objects as connected pieces: what cutting leaves of them gets ids of its own, and slivers go."""

import torch
from jaxtyping import Bool, Int32, Int64
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels
from anystar_torch.geometry.dense_ids import rank
from anystar_torch.geometry.distance_transform import check_spacing
from anystar_torch.kernels.implementations import implementation

_ROUNDS = 10  # of hooking and jumping; generated objects need 3 or 4, a serpentine through the volume about 7


def connected_components(labels: Labels, min_voxels: int = 1) -> Labels:
    """A new id for every connected piece of an object that has at least ``min_voxels`` voxels.

    Voxels of the same label that touch by a face, an edge or a corner belong together. On the CPU and on GPUs this is
    exact (union-find); with plain torch operators it is ten rounds of propagation, each of which joins every piece
    found so far with all pieces it touches: enough for anything but a labyrinth, of which pieces would keep apart.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        min_voxels: smaller pieces become background.

    Returns:
        int32 of the same shape: ids 1, 2, 3, ... in each sample, in the order of each piece's first voxel; 0 stays.
    """
    check_spacing(labels, (1.0, 1.0, 1.0))
    if implementation(labels.device) == "torch":
        return torch_components(labels, min_voxels)
    pieces: Labels = _connected_components(labels, min_voxels)
    return pieces


def remove_small(labels: Labels, min_voxels: int) -> Labels:
    """The labels without those that have fewer than ``min_voxels`` voxels in their sample; ids stay as they are."""
    check_spacing(labels, (1.0, 1.0, 1.0))
    if implementation(labels.device) == "torch":
        return torch_remove_small(labels, min_voxels)
    kept: Labels = _remove_small(labels, min_voxels)
    return kept


def torch_components(labels: Labels, min_voxels: int = 1) -> Labels:
    """The plain torch implementation of :func:`connected_components`."""
    shape = labels.shape[2:]
    field = labels.clamp_min(0).squeeze(1)
    index = torch.arange(shape.numel(), dtype=torch.int32, device=labels.device)
    parent = index.expand(len(labels), -1)
    for _ in range(_ROUNDS):
        least = _least_around(parent.view_as(field), field).flatten(1)
        # a root hooks onto the least root its piece touches, then every voxel jumps towards its root
        parent = parent.scatter_reduce(1, parent.long(), least, "amin")
        parent = parent.gather(1, parent.long())
        parent = parent.gather(1, parent.long())
    root = parent.long()
    sizes = torch.zeros_like(parent).scatter_add_(1, root, torch.ones_like(parent))
    found = (field.flatten(1) > 0) & (sizes.gather(1, root) >= min_voxels)
    names = ((parent == index) & found).cumsum(1)
    pieces = names.gather(1, root) * found
    return pieces.to(torch.int32).view_as(labels)


def _least_around(
    values: Int32[Tensor, "b d h w"], field: Int32[Tensor, "b d h w"]
) -> Int32[Tensor, "b d h w"]:
    """The least value among each voxel and those of its 26 neighbours that carry the same label."""
    nothing = torch.iinfo(torch.int32).max
    around = F.pad(values, (1,) * 6, value=nothing)
    labels = F.pad(field, (1,) * 6, value=-1)
    depth = values.shape[1]
    least = values
    for dz in range(3):  # a slice of neighbours at a time: nine volumes of transient memory
        near = _neighbours(around.narrow(1, dz, depth))
        same = _neighbours(labels.narrow(1, dz, depth)) == field[..., None, None]
        least = torch.minimum(least, torch.where(same, near, nothing).amin((-2, -1)))
    return least


def _neighbours(padded: Tensor) -> Tensor:
    """Views of the 3 x 3 places around each voxel within its slice, ``[B, D, H, W, 3, 3]``."""
    return padded.unfold(2, 3, 1).unfold(3, 3, 1)


def torch_remove_small(labels: Labels, min_voxels: int) -> Labels:
    """The plain torch implementation of :func:`remove_small`."""
    place: Int64[Tensor, "b v"] = rank(labels.flatten(1))
    ones = torch.ones_like(place, dtype=torch.int32)
    counts = torch.zeros_like(ones).scatter_add_(1, place, ones)
    kept: Bool[Tensor, "b v"] = counts.gather(1, place) >= min_voxels
    return (labels.clamp_min(0).flatten(1) * kept).view_as(labels)


@torch.library.custom_op("anystar::connected_components", mutates_args=())
def _connected_components(labels: Tensor, min_voxels: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton.components import connected_components as on_gpu

        return on_gpu(labels.contiguous(), min_voxels)
    from anystar_torch.kernels import _native

    out = torch.empty(labels.shape, dtype=torch.int32)
    field = labels.squeeze(1).contiguous().numpy()
    _native.connected_components(field, min_voxels, out.squeeze(1).numpy(), torch.get_num_threads())
    return out


@torch.library.custom_op("anystar::remove_small", mutates_args=())
def _remove_small(labels: Tensor, min_voxels: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton.label_table import remove_small as on_gpu

        return on_gpu(labels.contiguous(), min_voxels)
    from anystar_torch.kernels import _native

    out = torch.empty(labels.shape, dtype=torch.int32)
    field = labels.squeeze(1).contiguous().numpy()
    _native.remove_small(field, min_voxels, out.squeeze(1).numpy(), torch.get_num_threads())
    return out


@_connected_components.register_fake
@_remove_small.register_fake
def _(labels: Tensor, min_voxels: int) -> Tensor:
    return labels.new_empty(labels.shape)
