"""Checks of the arguments of the operations on labels and polyhedra."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anystar_torch.arrays import Triple

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays


def check_labels(labels: Tensor) -> None:
    """Refuse what is not int32 ``[B, 1, D, H, W]`` with at least one voxel.

    Args:
        labels: the labels.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape.
    """
    if labels.dtype != torch.int32:
        raise TypeError(f"labels must be int32, got {labels.dtype}; convert with labels.to(torch.int32)")
    if labels.ndim != 5 or labels.shape[1] != 1:
        raise ValueError(f"labels must be [B, 1, D, H, W], got {tuple(labels.shape)}")
    if min(labels.shape[2:]) < 1:
        raise ValueError(f"labels must have at least one voxel along each axis, got {tuple(labels.shape)}")


def checked_grid(grid: Sequence[int]) -> Triple:
    """The grid as a tuple.

    Args:
        grid: subsampling along (z, y, x).

    Raises:
        ValueError: ``grid`` is not three positive integers.
    """
    if len(grid) != 3 or not all(isinstance(step, int) and step >= 1 for step in grid):
        raise ValueError(f"grid must be three positive integers (z, y, x), got {grid}")
    return grid[0], grid[1], grid[2]


def check_polyhedra(points: Tensor, distances: Tensor, rays: "Rays") -> None:
    """Refuse tensors whose shapes and dtypes do not describe N polyhedra; the kernels check values.

    Args:
        points: must be ``[N, 3]`` float32.
        distances: must be ``[N, R]`` float32.
        rays: R directions.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be [N, 3] (z, y, x), got {list(points.shape)}")
    wanted = (points.shape[0], rays.vertices.shape[0])
    if tuple(distances.shape) != wanted:
        raise ValueError(
            f"distances must be {list(wanted)}, a row per point and a column per ray, got {list(distances.shape)}"
        )
    for name, tensor in (("points", points), ("distances", distances)):
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name} must be float32, got {tensor.dtype}; convert with {name}.float()")
