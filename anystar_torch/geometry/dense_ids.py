"""Arbitrary ids as small consecutive numbers, without waiting for a list of them."""

from jaxtyping import Int32, Int64
from torch import Tensor, empty_like
from torch.nn import functional as F


def rank(labels: Int32[Tensor, "b v"]) -> Int64[Tensor, "b v"]:
    """For each voxel, how many different smaller ids its sample has: sorted, and counted where they change."""
    ordered, order = labels.sort(dim=1)
    changes = (ordered.diff(dim=1) != 0).cumsum(1)
    return empty_like(order).scatter_(1, order, F.pad(changes, (1, 0)))
