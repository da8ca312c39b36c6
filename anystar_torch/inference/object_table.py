"""Measurements of every object, and its surface."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.inference.instances import Instances

COLUMNS = [
    "id",
    "z",
    "y",
    "x",
    "z_um",
    "y_um",
    "x_um",
    "score",
    "volume",
    "volume_um3",
    "diameter",
    "diameter_um",
    "mean_intensity",
    "touches_border",
]
"""Columns of the table, in order."""


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
        Rows with :data:`COLUMNS`. Centre and volume are in voxels. The diameter is volume-equivalent, in voxels of the
        finest axis. The mean intensity is that of the label's finite voxels, and absent if there are none. The last
        column says whether the label touches the border of the volume.
    """
    count = len(found)
    volume, measured = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    intensity = np.zeros(count + 1)
    for labels, slab in zip(found.labels, image, strict=True):
        flat = labels.reshape(-1)
        volume += np.bincount(flat, minlength=count + 1)
        values = slab.reshape(-1).astype(np.float64)
        finite = np.isfinite(values)
        measured += np.bincount(flat[finite], minlength=count + 1)
        intensity += np.bincount(flat[finite], values[finite], count + 1)
    faces = [face for axis in range(3) for face in (found.labels.take(0, axis), found.labels.take(-1, axis))]
    border = np.isin(np.arange(count + 1), np.concatenate([face.reshape(-1) for face in faces]))
    step = np.asarray(spacing if spacing is not None else (1, 1, 1), float)
    voxel, finest = float(np.prod(step)), float(step.min())
    rows = []
    for i in range(1, count + 1):
        diameter = equivalent_diameter(float(volume[i]) * voxel)
        row: dict[str, Any] = {
            "id": i,
            "score": round(float(found.scores[i - 1]), 4),
            "volume": int(volume[i]),
        }
        row |= {axis: round(float(p), 3) for axis, p in zip("zyx", found.points[i - 1], strict=True)}
        row |= {"diameter": round(diameter / finest, 3), "touches_border": int(border[i])}
        if measured[i]:
            row["mean_intensity"] = _rounded(float(intensity[i] / measured[i]))
        if spacing is not None and unit:
            scaled = found.points[i - 1] * step
            row |= {f"{axis}_um": round(float(p), 4) for axis, p in zip("zyx", scaled, strict=True)}
            row |= {"volume_um3": round(float(volume[i] * voxel), 4), "diameter_um": round(diameter, 4)}
        rows.append(row)
    return rows


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
