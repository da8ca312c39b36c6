"""The diameter that a user draws: a line across an object, or a ball around it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

LINES = ("line", "path")


def drawn_diameter(
    vertices: Float[np.ndarray, "n d"], kind: str, scale: Sequence[float | int], spatial: Sequence[int]
) -> float:
    """The diameter that a shape means, in voxels of the finest axis.

    A line counts with its length, an ellipse or rectangle with the mean of its two sides.

    Args:
        vertices: corners of the shape, in elements.
        kind: "line", "path", "ellipse" or "rectangle".
        scale: size of a step along each dimension.
        spatial: dimensions that are z, y and x.

    Raises:
        ValueError: the shape has no length, or is of another kind.
    """
    steps = np.abs(np.array([scale[axis] for axis in spatial], float))
    corners = np.asarray(vertices, float)[:, list(spatial)] * steps / steps.min()
    if kind in LINES:
        diameter = float(np.linalg.norm(np.diff(corners, axis=0), axis=1).sum())
    elif kind in ("ellipse", "rectangle") and len(corners) == 4:
        sides = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[1])
        diameter = float(sum(sides) / 2)
    else:
        raise ValueError(f"draw a line across an object, or an ellipse around it; a {kind} has no diameter")
    if diameter < 1:
        raise ValueError("the shape is shorter than one voxel: draw it across a whole object")
    return diameter
