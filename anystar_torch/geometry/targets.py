"""What the network learns to predict, computed from labels as StarDist does (Weigert et al., WACV 2020).

The functions never wait for a value on the host, and run the same operators for all labels and batch sizes.
"""

from collections.abc import Sequence

from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Labels, three_positive
from anystar_torch.geometry.checks import check_labels, checked_grid
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import distance_transform as transform_kernels
from anystar_torch.kernels import star_distances as ray_kernels


def star_distances(
    labels: Labels, rays: Rays, grid: Sequence[int] = (1, 1, 1)
) -> Float32[Tensor, "b r gd gh gw"]:
    """Distances in voxels from every grid point to the border of its object, along each ray.

    From the grid point, steps of one voxel length go along the ray to the first voxel that has another label or lies
    outside the volume. The distance is the length of the rounded offset of that voxel, so its square is an integer of
    at least 1. The result equals that of StarDist's ``star_dist3D``, including the rounding (half to even, of float32
    sums), except that ids do not wrap at 65,536.

    Args:
        labels: int32 ``[B, 1, D, H, W]``, ids to 2^31 - 1; 0 (and below) is background.
        rays: R unit directions, on the device of ``labels``.
        grid: keep every n-th voxel along (z, y, x), from the first on.

    Returns:
        float32 ``[B, R, ceil(D / grid), ...]``; 0 in the background.

    Raises:
        TypeError: labels that are not int32.
        ValueError: an empty volume, a grid that is not three positive integers, rays on another device or (checked on
            the CPU only) not of unit length.

    Examples:
        A cube of 5 voxels, seen from its centre. The border is 3 steps away along an axis, and farther along a
        diagonal:

        >>> import torch
        >>> from anystar_torch import Rays, targets
        >>> labels = torch.zeros(1, 1, 9, 9, 9, dtype=torch.int32)
        >>> labels[:, :, 2:7, 2:7, 2:7] = 1
        >>> distances = targets.star_distances(labels, Rays.golden_spiral(32))
        >>> distances.shape
        torch.Size([1, 32, 9, 9, 9])
        >>> distances[0, :, 4, 4, 4].aminmax()
        torch.return_types.aminmax(
        min=tensor(3.),
        max=tensor(4.3589))
    """
    check_labels(labels)
    steps = checked_grid(grid)
    if rays.vertices.device != labels.device:
        here, there = labels.device, rays.vertices.device
        raise ValueError(
            f"rays must be on the device of the labels, {here}, got {there}; use rays.to({here})"
        )
    return ray_kernels.star_distances(labels, rays.vertices, steps)


def object_probability(
    labels: Labels, grid: Sequence[int] = (1, 1, 1), anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)
) -> Float32[Tensor, "b 1 gd gh gw"]:
    """Distance of a voxel to the border of its object, over the largest one of that object.

    This is StarDist's ``edt_prob``: the distance transform at full resolution, in which touching objects bound each
    other, divided by the maximum of each label in its sample, then subsampled.

    Args:
        labels: int32 ``[B, 1, D, H, W]``, ids to 2^31 - 1; 0 (and below) is background.
        grid: keep every n-th voxel along (z, y, x), from the first on.
        anisotropy: length of a voxel along (z, y, x), positive.

    Returns:
        float32 ``[B, 1, ceil(D / grid), ...]`` in [0, 1]; 0 in the background only.

    Raises:
        TypeError: labels that are not int32.
        ValueError: an empty volume, a grid that is not three positive integers, or an anisotropy that is not three
            positive numbers.

    Examples:
        The middle row of a cube of 5 voxels:

        >>> import torch
        >>> from anystar_torch import targets
        >>> labels = torch.zeros(1, 1, 9, 9, 9, dtype=torch.int32)
        >>> labels[:, :, 2:7, 2:7, 2:7] = 1
        >>> targets.object_probability(labels)[0, 0, 4, 4]
        tensor([0.0000, 0.0000, 0.3333, 0.6667, 1.0000, 0.6667, 0.3333, 0.0000, 0.0000])
    """
    check_labels(labels)
    steps, lengths = checked_grid(grid), three_positive("anisotropy", anisotropy)
    return transform_kernels.object_probability(labels, steps, lengths)
