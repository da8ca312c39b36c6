"""What the operations on polyhedra ask of their tensors before any work is done."""

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from anystar_torch.geometry.rays import Rays


def check_polyhedra(points: Tensor, distances: Tensor, rays: "Rays") -> None:
    """Raise unless shapes and dtypes describe N polyhedra; values are checked by the kernels.

    Args:
        points: to be ``[N, 3]`` float32.
        distances: to be ``[N, R]`` float32.
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


def native_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor as a contiguous array in host memory, copied only where it has to be."""
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array
