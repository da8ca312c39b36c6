"""Kernels that need one number per label: the removal of small labels, and dense ids.

C++: ``csrc/components.hpp``. Triton: ``triton/label_table.py``, a hash table from ids to counts.
The functions ``torch_*`` are the references. All implementations give the same bits.
"""

import torch
from jaxtyping import Int32, Int64
from torch import Tensor
from torch.nn import functional as F

from anystar_torch.arrays import Labels
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import like_first, run_native


def remove_small(labels: Labels, min_voxels: int) -> Labels:
    """The labels without those that have fewer than ``min_voxels`` voxels in their sample.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        min_voxels: least number of voxels.
    """
    run = torch_remove_small if implementation(labels.device) == "torch" else _remove_small
    kept: Labels = run(labels, min_voxels)
    return kept


@torch.library.custom_op("anystar::remove_small", mutates_args=())
def _remove_small(labels: Tensor, min_voxels: int) -> Tensor:
    if implementation(labels.device) == "triton":
        from anystar_torch.kernels.triton import label_table

        return label_table.remove_small(labels.contiguous(), min_voxels)
    volumes = labels.squeeze(1).contiguous()
    return run_native("remove_small", volumes, min_voxels, kind=torch.int32).unsqueeze(1)


_remove_small.register_fake(like_first)


def torch_remove_small(labels: Labels, min_voxels: int) -> Labels:
    """The reference of :func:`remove_small`.

    Arguments are those of :func:`remove_small`.
    """
    place = dense_ids(labels.flatten(1))
    ones = torch.ones_like(place, dtype=torch.int32)
    counts = torch.zeros_like(ones).scatter_add_(1, place, ones)
    kept = counts.gather(1, place) >= min_voxels
    return (labels.clamp_min(0).flatten(1) * kept).view_as(labels)


def dense_ids(labels: Int32[Tensor, "b v"]) -> Int64[Tensor, "b v"]:
    """Labels renumbered 0, 1, 2, ... in each sample, in rising order, without a wait for the host.

    Args:
        labels: ``[B, V]``, any numbers.
    """
    ordered, order = labels.sort(dim=1)
    changes = (ordered.diff(dim=1) != 0).cumsum(1)
    return torch.empty_like(order).scatter_(1, order, F.pad(changes, (1, 0)))
