"""Writer of points as a table (CSV), with the columns of their features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.transforms import Affine

from anystar_torch.io import write_table
from anystar_torch.io.voxel_size import micrometres


def write_points(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a points layer as CSV: a position in elements and, where units are known, in micrometres, and features.

    Args:
        path: the file, ``.csv``.
        data: positions in elements, one column per dimension.
        attributes: of the layer: ``axis_labels``, ``scale``, ``translate``, ``rotate``, ``shear``, ``affine``,
            ``units`` and ``features``. All may be absent.

    Returns:
        The files that were written.

    Raises:
        ValueError: the file cannot be written.
    """
    points = np.asarray(data, float)
    names = _axis_names(attributes.get("axis_labels"), points.shape[1])
    features = attributes.get("features", {})
    columns = [str(name) for name in features if str(name) not in names]
    table: dict[str, Any] = {name: points[:, place] for place, name in enumerate(names)}
    table |= _physical(points, names, attributes)
    table |= {name: list(features[name]) for name in columns if name not in table}
    write_table(Path(path), rows_of(table), dict.fromkeys(table, str))
    return [path]


def _axis_names(labels: Any, count: int) -> list[str]:
    """Names of the dimensions: those of the layer, or the last of t, c, z, y and x."""
    labels = [str(label) for label in labels or ()]
    if len(labels) == count and not all(label.lstrip("-").isdigit() for label in labels):
        return labels
    return list("tczyx"[-count:]) if count <= 4 else list("tczyx")[:count]


def _physical(points: np.ndarray, names: list[str], attributes: dict[str, Any]) -> dict[str, np.ndarray]:
    """Positions in micrometres, where napari shows the points, of the dimensions that are lengths."""
    units = attributes.get("units") or [""] * len(names)
    factors = [micrometres(str(unit)) for unit in units]
    shown = _shown(points, attributes)
    return {
        f"{name}_um": shown[:, i] * factor
        for i, (name, factor) in enumerate(zip(names, factors, strict=True))
        if factor is not None
    }


def _shown(points: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """Positions after all transforms of the layer: scale, shear, rotation and translation, then its affine matrix."""
    own = {name: attributes[name] for name in ("scale", "translate", "rotate", "shear") if name in attributes}
    matrix = attributes.get("affine", np.eye(points.shape[1] + 1))
    return np.asarray(Affine(affine_matrix=matrix)(Affine(ndim=points.shape[1], **own)(points)))


def rows_of(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table as text shows them best.

    Args:
        columns: values by name.

    Returns:
        Numbers with four decimals; nothing for a missing number.
    """
    rows = zip(*columns.values(), strict=True)
    return [{name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else round(float(value), 4)
    return value.item() if isinstance(value, np.generic) else value
