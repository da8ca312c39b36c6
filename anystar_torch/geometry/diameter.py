"""The volume-equivalent diameter, by which this package measures the size of objects."""

from typing import overload

import numpy as np
from jaxtyping import Float64


@overload
def equivalent_diameter(volume: float) -> float: ...
@overload
def equivalent_diameter(volume: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]: ...
def equivalent_diameter(
    volume: float | int | Float64[np.ndarray, "*shape"],
) -> float | Float64[np.ndarray, "*shape"]:
    """Diameter of the ball that has the given volume.

    Args:
        volume: one volume or an array of volumes, not negative.

    Returns:
        The diameter, in the unit whose cube is the unit of ``volume``; a float or an array, as ``volume`` is.
    """
    diameter = np.cbrt(6 / np.pi * volume)
    return diameter if isinstance(volume, np.ndarray) else float(diameter)
