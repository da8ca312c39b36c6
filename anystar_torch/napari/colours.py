"""Colours of labels by a feature, and objects that are hidden because a feature is out of a range."""

from collections.abc import Callable

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from napari.utils.colormaps import DirectLabelColormap

from anystar_torch.napari.features import Columns

Colour = Float[np.ndarray, " 4"]
_HIDDEN = np.zeros(4)
MAP = "viridis"


def within(columns: Columns, feature: str, low: float, high: float) -> Bool[np.ndarray, " n"]:
    """Which objects have a feature in a range. Objects without a value are kept.

    Args:
        columns: features of the objects.
        feature: name of a column.
        low: smallest value.
        high: largest value.
    """
    values = columns[feature].astype(np.float64)
    return ~((values < low) | (values > high))


def coloured(
    columns: Columns, feature: str | None, shown: Bool[np.ndarray, " n"], plain: Callable[[int], Colour]
) -> DirectLabelColormap:
    """A colour map of labels.

    Args:
        columns: features of the objects.
        feature: name of the column that gives the colours; None for the plain ones.
        shown: which objects are shown.
        plain: the plain colour of a label.
    """
    ids = columns["index"].tolist()
    colours = [plain(label) for label in ids] if feature is None else _by_value(columns[feature])
    known = {label: c if s else _HIDDEN for label, c, s in zip(ids, colours, shown, strict=True)}
    new = plain(1)  # objects that were painted since the features were measured
    return DirectLabelColormap(color_dict={None: new, 0: _HIDDEN, **known})


def _by_value(values: np.ndarray) -> list[Colour]:
    """Colours from the smallest to the largest value; grey where there is none."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    low, high = (numbers[finite].min(), numbers[finite].max()) if finite.any() else (0.0, 1.0)
    share = np.where(finite, (numbers - low) / max(high - low, 1e-12), 0)
    colours = matplotlib.colormaps[MAP](share)
    colours[~finite] = (0.5, 0.5, 0.5, 1.0)
    return list(colours)
