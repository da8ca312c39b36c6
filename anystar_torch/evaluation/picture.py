"""Pictures: a volume in three planes with contours, and a gallery of samples.

Everything goes through matplotlib's objects and the Agg canvas; pyplot's global state is never touched, so
that pictures can be made in threads, during training and without a screen.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.arrays import Sample
from anystar_torch.io.atomic import atomic_write

ENDINGS = (".png", ".pdf", ".svg", ".jpg")
_AXES = "zyx"
_INCH = 2.6  # side of a panel
_THIN = 128

Plane = NDArray[Any]


def planes(
    image: NDArray[Any] | Tensor,
    truth: NDArray[Any] | Tensor | None = None,
    prediction: NDArray[Any] | Tensor | None = None,
    *,
    path: Path | str,
    spacing: Sequence[float | int] = (1.0, 1.0, 1.0),
    title: str = "",
) -> Path:
    """A volume in three planes: raw, with the contours of the truth, with those of the prediction.

    In each direction the plane is shown that cuts most objects (of the prediction, else of the truth; the
    plane of largest contrast where there are no labels).

    Args:
        image: ``[D, H, W]``, any real type.
        truth: ``[D, H, W]`` integer labels, or None.
        prediction: ``[D, H, W]`` integer labels, or None.
        path: where the picture goes; its ending is the format (.png, .pdf, .svg).
        spacing: voxel size (z, y, x), so that planes are shown in their true shape.
        title: one line above.

    Returns:
        ``path``.

    Raises:
        ValueError: shapes that differ, or no volume.
    """
    volume = _array(image)
    if volume.ndim != 3:
        raise ValueError(f"image must be [D, H, W], got {volume.shape}")
    named = [("truth", truth), ("prediction", prediction)]
    rows: list[tuple[str, NDArray[Any] | None]] = [("raw", None)]
    rows += [(name, _array(labels)) for name, labels in named if labels is not None]
    for name, labels in rows[1:]:
        if labels is not None and labels.shape != volume.shape:
            raise ValueError(f"{name} must have the image's shape {volume.shape}, got {labels.shape}")
    chosen = best_planes(rows[-1][1], volume)
    low, high = _contrast(volume)
    shape = _sizes(volume.shape, spacing)
    from matplotlib.figure import Figure

    widths = [shape[2], shape[2], shape[1]]
    heights = [shape[1], shape[0], shape[0]]
    tallest = max(h / w for h, w in zip(heights, widths, strict=True))
    figure = Figure((3 * _INCH, len(rows) * _INCH * min(max(tallest, 0.35), 2) + 0.4), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=8)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for row, (name, labels) in enumerate(rows):
        for axis in range(3):
            aspect = [spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1]][axis]
            content = None if labels is None else labels.take(chosen[axis], axis)
            _show(grid[row][axis], volume.take(chosen[axis], axis), content, (low, high), aspect)
            count = "" if content is None else f", {np.unique(content[content > 0]).size} objects"
            grid[row][axis].set_title(f"{name}, {_AXES[axis]} = {chosen[axis]}{count}", fontsize=6)
    return _save(figure, path)


def gallery(
    samples: Sample | Sequence[tuple[Any, Any]],
    path: Path | str,
    titles: Sequence[str] | None = None,
    columns: int = 6,
) -> Path:
    """A montage of samples: of each the z plane that cuts most objects, with their contours.

    Args:
        samples: a batch, or pairs of image and labels ``[D, H, W]``.
        path: where the picture goes.
        titles: one per sample; None for the number of its objects.
        columns: panels in a row.

    Returns:
        ``path``.
    """
    pairs = _pairs(samples)
    if not pairs:
        raise ValueError("no samples to show")
    from matplotlib.figure import Figure

    columns = min(columns, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    figure = Figure((columns * _INCH, rows * (_INCH + 0.15)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for i, (image, labels) in enumerate(pairs):
        z = best_planes(labels, image)[0]
        panel = grid[i // columns][i % columns]
        _show(panel, image[z], labels[z], _contrast(image), 1.0)
        count = np.unique(labels[labels > 0]).size
        panel.set_title(titles[i] if titles else f"{count} objects, z = {z}", fontsize=7)
    return _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """A volume to be shown.

    Attributes:
        name: what stands above it.
        volume: ``[D, H, W]``, leading axes of length one allowed.
        labels: ``[D, H, W]`` whose outlines are drawn over it; None for none.
        limits: values shown as black and white; None for nearly all that occur.
    """

    name: str
    volume: Any
    labels: Any = None
    limits: tuple[float, float] | None = None


def columns(samples: Sequence[Sequence[Panel]], path: Path | str) -> Path:
    """One column per sample, its panels below each other, all at the z plane that cuts most objects.

    Panels of one sample may differ in resolution: the plane is the one at the same relative depth.

    Args:
        samples: of each sample the same panels; the plane is chosen by the first that has labels.
        path: where the picture goes.

    Returns:
        ``path``.
    """
    from matplotlib.figure import Figure

    figure = Figure((len(samples) * _INCH, len(samples[0]) * (_INCH + 0.15)), layout="constrained")
    grid = figure.subplots(len(samples[0]), len(samples), squeeze=False)
    for column, panels in enumerate(samples):
        outlined = next((p for p in panels if p.labels is not None), panels[0])
        reference = _array(outlined.volume)
        labels = None if outlined.labels is None else _array(outlined.labels)
        depth = best_planes(labels, reference)[0] / len(reference)
        for row, shown in enumerate(panels):
            volume = _array(shown.volume)
            z = int(depth * len(volume))
            outlines = None if shown.labels is None else _array(shown.labels)[z]
            _show(grid[row][column], volume[z], outlines, shown.limits or _contrast(volume), 1.0)
            count = "" if outlines is None else f", {np.unique(outlines[outlines > 0]).size} objects"
            grid[row][column].set_title(f"{shown.name}, z = {z}{count}", fontsize=6)
    return _save(figure, path)


def best_planes(labels: NDArray[Any] | None, image: NDArray[Any]) -> tuple[int, int, int]:
    """For each axis the plane that cuts most objects; among equals the one with most foreground.

    The plane of largest contrast where there are no objects.
    """
    if labels is None or not labels.any():
        thin, steps = _thinned(image)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a plane of nothing but NaN has no contrast
            spread = [np.nanstd(thin.astype(np.float64), axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        chosen = [int(np.argmax(np.nan_to_num(v))) * step for v, step in zip(spread, steps, strict=True)]
        return chosen[0], chosen[1], chosen[2]
    boxes = _boxes(labels)
    chosen = []
    for axis, size in enumerate(labels.shape):
        # An object in one piece is in every plane between its first and its last.
        ends = np.array([(box[axis].start, box[axis].stop) for box in boxes])
        change = np.bincount(ends[:, 0], minlength=size + 1) - np.bincount(ends[:, 1], minlength=size + 1)
        objects = np.cumsum(change)[:size]
        covered = np.count_nonzero(labels, axis=tuple({0, 1, 2} - {axis}))
        aside = np.abs(2 * np.arange(size) - size + 1)
        chosen.append(int(np.lexsort((-aside, covered, objects))[-1]))
    return chosen[0], chosen[1], chosen[2]


def _boxes(labels: NDArray[Any]) -> list[tuple[slice, slice, slice]]:
    """The box of every label that occurs."""
    from scipy import ndimage

    if labels.max() > labels.size or labels.dtype.kind != "i":  # the search takes dense, signed labels
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + (labels.min() > 0)
    return [box for box in ndimage.find_objects(labels.astype(np.int32, copy=False)) if box is not None]


def _thinned(volume: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Every so-many-th voxel, about 128 along an axis, and how many: enough to know the grey values by."""
    steps = [max(1, size // _THIN) for size in volume.shape]
    return volume[tuple(slice(None, None, step) for step in steps)], steps


def contours(plane: Plane) -> list[tuple[int, list[NDArray[np.float64]]]]:
    """The outline of every label of a plane ``[H, W]``: (label, segments ``[2, 2]`` of (x, y) voxel edges).

    Outlines run along voxel edges, so that each shows exactly the voxels of its object, and two that touch
    both show.
    """
    padded = np.pad(plane, 1)
    outlines: dict[int, list[NDArray[np.float64]]] = {}
    for axis in range(2):
        before, after = (padded[:-1, :], padded[1:, :]) if axis == 0 else (padded[:, :-1], padded[:, 1:])
        for y, x in np.argwhere(before != after):
            # Edges of the padded plane, in the coordinates of the plain one.
            line = (
                [[x - 1.5, y - 0.5], [x - 0.5, y - 0.5]]
                if axis == 0
                else [[x - 0.5, y - 1.5], [x - 0.5, y - 0.5]]
            )
            for label in (int(before[y, x]), int(after[y, x])):
                if label > 0:
                    outlines.setdefault(label, []).append(np.array(line))
    return sorted(outlines.items())


def colour(label: int) -> tuple[float, float, float]:
    """A bright colour that is a label's own: hues by the golden ratio, so that neighbours differ."""
    from matplotlib.colors import hsv_to_rgb

    r, g, b = hsv_to_rgb((label * 0.618034 % 1.0, 0.9, 1.0))
    return float(r), float(g), float(b)


def _show(panel: Any, image: Plane, labels: Plane | None, limits: tuple[float, float], aspect: float) -> None:
    from matplotlib.collections import LineCollection

    shown = np.nan_to_num(image.astype(np.float32), nan=limits[0], posinf=limits[1], neginf=limits[0])
    panel.imshow(shown, cmap="gray", vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest")
    panel.set_axis_off()
    if labels is not None:
        for label, lines in contours(labels):
            panel.add_collection(LineCollection(lines, colors=[colour(label)], linewidths=0.9))


def _contrast(volume: NDArray[Any]) -> tuple[float, float]:
    """Grey values shown as black and white: nearly all of them, and never an empty range."""
    thin, _ = _thinned(volume)
    values = thin[np.isfinite(thin)] if thin.dtype.kind == "f" else thin
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values.astype(np.float32), (0.5, 99.8))
    return float(low), float(max(high, low + 1e-6 * max(abs(low), 1.0)))


def _sizes(shape: Sequence[int], spacing: Sequence[float | int]) -> list[float]:
    return [float(size * step) for size, step in zip(shape, spacing, strict=True)]


def _pairs(samples: Sample | Sequence[tuple[Any, Any]]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    if isinstance(samples, Sample):
        return [(_array(i[0]), _array(t[0])) for i, t in zip(samples.image, samples.labels, strict=True)]
    return [(_array(image), _array(labels)) for image, labels in samples]


def _array(values: Any) -> NDArray[Any]:
    """``[D, H, W]`` on the CPU; leading axes of length one are dropped."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    return array


def _save(figure: Any, path: Path | str) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    path = Path(path)
    check(path)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=140)
    return path


def check(path: Path | str) -> None:
    """Refuse a name that is no picture's."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot write {path}: pictures end in {', '.join(ENDINGS)}")
