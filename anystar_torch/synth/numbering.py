"""From any numbers that name objects to labels 1, 2, 3 ..."""

import torch

from anystar_torch.arrays import Labels


def number(objects: Labels, smallest: int) -> Labels:
    """Renumber objects from 1 without gaps, leaving out small ones.

    Args:
        objects: ``[B, 1, D, H, W]``, any positive number an object, 0 = none.
        smallest: objects with fewer voxels become 0.
    """
    values, order = objects.flatten(1).sort(dim=1, stable=True)
    first = torch.cat([values[:, :1] > 0, values[:, 1:] != values[:, :-1]], dim=1)
    group = first.cumsum(1)
    size = torch.zeros_like(group).scatter_add_(
        1, group.clamp(max=group.shape[1] - 1), torch.ones_like(group)
    )
    kept = (size.gather(1, group.clamp(max=group.shape[1] - 1)) >= smallest) & (values > 0)
    label = torch.where(kept, (first & kept).cumsum(1), 0)
    return torch.zeros_like(label).scatter_(1, order, label).to(torch.int32).view_as(objects)
