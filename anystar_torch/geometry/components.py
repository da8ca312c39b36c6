"""Connected components of labels: each piece of a cut object gets its own id, and small pieces are removed."""

from anystar_torch.arrays import Labels
from anystar_torch.geometry.checks import check_labels
from anystar_torch.kernels import components, label_table


def connected_components(labels: Labels, min_voxels: int = 1) -> Labels:
    """A new id for every connected piece of an object that has at least ``min_voxels`` voxels.

    Voxels of the same label that touch by a face, an edge or a corner belong to one piece. The result is exact on the
    CPU and on GPUs. On other devices ten rounds of propagation join the pieces, which can leave a labyrinth divided.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        min_voxels: smaller pieces become background.

    Returns:
        int32 of the same shape: ids 1, 2, 3, ... in each sample, in the order of each piece's first voxel; 0 stays.

    Raises:
        TypeError: labels that are not int32.
        ValueError: labels of another shape, or without voxels.
    """
    check_labels(labels)
    return components.connected_components(labels, min_voxels)


def remove_small(labels: Labels, min_voxels: int) -> Labels:
    """The labels without those that have fewer than ``min_voxels`` voxels in their sample; other ids stay.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        min_voxels: least number of voxels of a label.

    Raises:
        TypeError: labels that are not int32.
        ValueError: labels of another shape, or without voxels.
    """
    check_labels(labels)
    return label_table.remove_small(labels, min_voxels)
