"""Measurements of the objects of a label volume, for napari's table of features."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer

from anystar_torch.arrays import Spacing
from anystar_torch.geometry.diameter import equivalent_diameter

Columns = dict[str, np.ndarray]


def measure(
    labels: Integer[np.ndarray, "d h w"],
    scores: Mapping[int, float],
    spacing: Spacing | None = None,
    unit: str = "",
) -> Columns:
    """One row per label that occurs, ascending.

    Args:
        labels: of the volume; labels may have gaps.
        scores: score of every object that the network found. Others, which a person added, have none.
        spacing: voxel size (z, y, x); None for cubic voxels.
        unit: "um" where ``spacing`` is in micrometres; volume and diameter are then in micrometres too, and otherwise
            in voxels.

    Returns:
        ``index`` (the label, by which napari finds the row), ``score``, ``volume``, ``diameter`` (volume-equivalent),
        the centre ``z``, ``y`` and ``x`` in voxels, and ``touches_border``.
    """
    z, y, x = np.nonzero(labels)
    owner = labels[z, y, x].astype(np.int64)
    voxels = np.bincount(owner)
    ids = np.flatnonzero(voxels)
    sums = {axis: np.bincount(owner, place) for axis, place in zip("zyx", (z, y, x), strict=True)}
    faces = [labels.take(side, axis) for axis in range(3) for side in (0, -1)]
    border = np.unique(np.concatenate([face.reshape(-1) for face in faces]))
    step = np.array(spacing or (1.0, 1.0, 1.0))
    volume = voxels[ids] * (float(np.prod(step)) if unit else 1.0)
    diameter = equivalent_diameter(voxels[ids] * float(np.prod(step))) / (1.0 if unit else float(step.min()))
    return {
        "index": ids,
        "score": np.array([scores.get(int(label), np.nan) for label in ids], np.float64).round(4),
        "volume": volume.round(4),
        "diameter": np.asarray(diameter).round(4),
        **{axis: (total[ids] / voxels[ids]).round(3) for axis, total in sums.items()},
        "touches_border": np.isin(ids, border),
    }
