"""What is known of every object found: where it is, how large, how bright."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
]
COLUMNS += ["mean_intensity", "touches_border"]


def table(
    found: Instances, image: NDArray[Any], spacing: Sequence[float | int] | None = None, unit: str = "um"
) -> list[dict[str, Any]]:
    """One row per object.

    Args:
        found: the objects.
        image: the volume they were found in, ``[D, H, W]``.
        spacing: voxel size (z, y, x); None takes voxels for cubes.
        unit: of ``spacing``, "um"; "" where only its ratios are known. Without spacing or unit the columns in
            micrometres stay empty.

    Returns:
        Rows with :data:`COLUMNS`: centre in voxels, score, volume in voxels as labelled, volume-equivalent diameter in
        voxels of the finest axis, mean intensity of the finite labelled voxels (absent where none is), and whether
        a labelled voxel lies on the volume's border.
    """
    count = len(found)
    volume, measured = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    brightness = np.zeros(count + 1)
    for labels, slab in zip(found.labels, image, strict=True):
        flat = labels.reshape(-1)
        volume += np.bincount(flat, minlength=count + 1)
        values = slab.reshape(-1).astype(np.float64)
        finite = np.isfinite(values)
        measured += np.bincount(flat[finite], minlength=count + 1)
        brightness += np.bincount(flat[finite], values[finite], count + 1)
    edge = [face for axis in range(3) for face in (found.labels.take(0, axis), found.labels.take(-1, axis))]
    border = np.isin(np.arange(count + 1), np.concatenate([face.reshape(-1) for face in edge]))
    step = np.asarray(spacing if spacing is not None else (1, 1, 1), float)
    cube, finest = float(np.prod(step)), float(step.min())
    rows = []
    for i in range(1, count + 1):
        diameter = equivalent_diameter(float(volume[i]) * cube)
        row: dict[str, Any] = {
            "id": i,
            "score": round(float(found.scores[i - 1]), 4),
            "volume": int(volume[i]),
        }
        row |= {axis: round(float(p), 3) for axis, p in zip("zyx", found.points[i - 1], strict=True)}
        row |= {"diameter": round(diameter / finest, 3), "touches_border": int(border[i])}
        if measured[i]:
            row["mean_intensity"] = _rounded(float(brightness[i] / measured[i]))
        if spacing is not None and unit:
            moved = found.points[i - 1] * step
            row |= {f"{axis}_um": round(float(p), 4) for axis, p in zip("zyx", moved, strict=True)}
            row |= {"volume_um3": round(float(volume[i] * cube), 4), "diameter_um": round(diameter, 4)}
        rows.append(row)
    return rows


def _rounded(intensity: float) -> float:
    """Six decimals, or six digits of a small number."""
    return round(intensity, 6) if abs(intensity) >= 0.1 else float(f"{intensity:.6g}")


def meshes(found: Instances, spacing: Sequence[float | int] = (1, 1, 1)) -> list[NDArray[np.float32]]:
    """The corners of every polyhedron, ``[R, 3]`` each, as (x, y, z) in the unit of ``spacing``."""
    directions, step = found.rays.vertices.cpu().numpy(), np.asarray(spacing, np.float32)
    return [
        ((point + distances[:, None] * directions) * step)[:, ::-1].astype(np.float32)
        for point, distances in zip(found.points, found.distances, strict=True)
    ]
