"""Measurements of every object, and its surface."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.inference.instances import Instances
from anystar_torch.inference.object_sums import ObjectSums, block_sums

COLUMNS: dict[str, type] = {
    "id": int,
    "z": float,
    "y": float,
    "x": float,
    "z_um": float,
    "y_um": float,
    "x_um": float,
    "score": float,
    "volume": int,
    "volume_um3": float,
    "diameter": float,
    "diameter_um": float,
    "mean_intensity": float,
    "touches_border": int,
}
"""Columns of the table and their types, in order."""


def object_table(
    found: Instances,
    image: Shaped[np.ndarray, "d h w"],
    spacing: Sequence[float | int] | None = None,
    unit: str = "um",
) -> list[dict[str, Any]]:
    """One row per object.

    Args:
        found: the objects.
        image: the volume in which they were found.
        spacing: voxel size (z, y, x); None for cubic voxels.
        unit: unit of ``spacing``, "um", or "" if only its ratios are known. Columns in micrometres are empty without
            spacing or unit.

    Returns:
        Rows as of :func:`object_rows`.
    """
    sums = ObjectSums.empty(len(found))
    sums.add(block_sums(found.labels, image))
    return list(object_rows(sums, found.points, found.scores, spacing, unit))


def object_rows(
    sums: ObjectSums,
    points: Float32[np.ndarray, "n 3"],
    scores: Float32[np.ndarray, " n"],
    spacing: Sequence[float | int] | None = None,
    unit: str = "um",
) -> Iterator[dict[str, Any]]:
    """Make one row per object, in the order of their ids; one at a time, so that a table of any length can be written.

    Args:
        sums: over the voxels of the objects, from all blocks of the volume.
        points: centres of the objects in voxels, (z, y, x); arrays in a file are read as the rows are made.
        scores: of the objects.
        spacing: voxel size (z, y, x); None for cubic voxels.
        unit: unit of ``spacing``, "um", or "" if only its ratios are known. Columns in micrometres are absent without
            spacing or unit.

    Yields:
        Rows with :data:`COLUMNS`. Centre and volume are in voxels. The diameter is volume-equivalent, in voxels of the
        finest axis. The mean intensity is that of the label's finite voxels, and absent if there are none. The last
        column says whether the label touches the border of the volume.
    """
    step = np.asarray(spacing if spacing is not None else (1, 1, 1), float)
    voxel, finest = float(np.prod(step)), float(step.min())
    for i, number in enumerate(sums.ids.tolist()):
        size = float(sums.volume[i])
        diameter = equivalent_diameter(size * voxel)
        row: dict[str, Any] = {
            "id": number,
            "score": round(float(scores[i]), 4),
            "volume": int(size),
        }
        row |= {axis: round(float(p), 3) for axis, p in zip("zyx", points[i], strict=True)}
        row |= {"diameter": round(diameter / finest, 3), "touches_border": int(sums.touches_border[i])}
        if sums.measured[i]:
            row["mean_intensity"] = _rounded(float(sums.intensity[i] / sums.measured[i]))
        if spacing is not None and unit:
            scaled = points[i] * step
            row |= {f"{axis}_um": round(float(p), 4) for axis, p in zip("zyx", scaled, strict=True)}
            row |= {"volume_um3": round(size * voxel, 4), "diameter_um": round(diameter, 4)}
        yield row


def _rounded(intensity: float) -> float:
    """Six decimals, or six digits of a small number."""
    return round(intensity, 6) if abs(intensity) >= 0.1 else float(f"{intensity:.6g}")


def object_meshes(
    found: Instances, spacing: Sequence[float | int] = (1, 1, 1)
) -> list[Float32[np.ndarray, "r 3"]]:
    """The corners of every polyhedron as (x, y, z), in the unit of ``spacing``.

    Args:
        found: the objects.
        spacing: voxel size, (z, y, x).
    """
    directions, step = found.rays.vertices.cpu().numpy(), np.asarray(spacing, np.float32)
    return [
        ((point + distances[:, None] * directions) * step)[:, ::-1].astype(np.float32)
        for point, distances in zip(found.points, found.distances, strict=True)
    ]
