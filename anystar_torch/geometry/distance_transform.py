"""Euclidean distance from every voxel of an object to the nearest voxel of another label.

Objects that touch bound each other. The border of the volume bounds nothing, except in a sample that is one object from
border to border: its distance is that to the outside. The first rule is that of the ``edt`` package with
``black_border=False``, which StarDist uses; the exception is StarDist's.
"""

from collections.abc import Sequence

from anystar_torch.arrays import Labels, Volume, three_positive
from anystar_torch.geometry.checks import check_labels
from anystar_torch.kernels import distance_transform as kernel


def distance_transform(labels: Labels, anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)) -> Volume:
    """Distance to the nearest voxel of another label, between voxel centres; 0 in the background.

    Args:
        labels: int32 ``[B, 1, D, H, W]``; 0 (and below) is background.
        anisotropy: length of a voxel along (z, y, x), positive.

    Returns:
        float32 ``[B, 1, D, H, W]``, in the unit of ``anisotropy``.

    Raises:
        TypeError: labels that are not int32.
        ValueError: an empty volume, or an anisotropy that is not three positive finite numbers.
    """
    check_labels(labels)
    return kernel.distance_transform(labels, three_positive("anisotropy", anisotropy))
