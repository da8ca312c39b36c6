"""Pictures of volumes: three planes with outlines, a gallery of samples, and panels in columns.

They are drawn with matplotlib's objects and the Agg canvas, without pyplot and its global state. So pictures can be
made in several threads, during a training and without a screen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.arrays import Sample
from anystar_torch.evaluation.outlines import best_planes, colour, contours, display_range
from anystar_torch.io.atomic import atomic_write
from anystar_torch.system.wording import number_of

ENDINGS = (".png", ".pdf", ".svg", ".jpg")
_AXES = "zyx"
_INCH = 2.6  # side of a panel, inches

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
    """Write a picture of a volume in three planes: the image alone, with true outlines, and with predicted outlines.

    For each axis it shows the plane that cuts most objects of the prediction, or of the truth without a prediction.
    Without labels it shows the plane with the largest standard deviation of the grey values.

    Args:
        image: ``[D, H, W]``, any real type.
        truth: integer labels ``[D, H, W]``; None for no row of true outlines.
        prediction: integer labels ``[D, H, W]``; None for no row of predicted outlines.
        path: file to write. Its ending is the format: .png, .pdf, .svg or .jpg.
        spacing: voxel size (z, y, x), in any unit. Planes are shown in their physical shape.
        title: line above the picture.

    Returns:
        ``path``.

    Raises:
        ValueError: the image is no volume, the shapes differ, or the format is unknown.
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
    chosen, limits = best_planes(rows[-1][1], volume), display_range(volume)
    figure, grid = _three_columns(len(rows), volume.shape, spacing)
    if title:
        figure.suptitle(title, fontsize=8)
    aspects = spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1]
    for row, (name, labels) in enumerate(rows):
        for axis, index in enumerate(chosen):
            outlined = None if labels is None else labels.take(index, axis)
            _show(grid[row][axis], volume.take(index, axis), outlined, limits, aspects[axis])
            grid[row][axis].set_title(f"{name}, {_AXES[axis]} = {index}{_count(outlined)}", fontsize=6)
    return _save(figure, path)


def _three_columns(rows: int, shape: Sequence[int], spacing: Sequence[float | int]) -> tuple[Any, Any]:
    """A figure and its grid of ``rows`` times three panels, tall enough for the planes of a volume."""
    from matplotlib.figure import Figure

    depth, height, width = (size * step for size, step in zip(shape, spacing, strict=True))
    tallest = max(height / width, depth / width, depth / height)
    figure = Figure((3 * _INCH, rows * _INCH * min(max(tallest, 0.35), 2) + 0.4), layout="constrained")
    return figure, figure.subplots(rows, 3, squeeze=False)


def gallery(
    samples: Sample | Sequence[tuple[Any, Any]],
    path: Path | str,
    titles: Sequence[str] | None = None,
    columns: int = 6,
) -> Path:
    """Write a picture of samples: of each one the z plane that cuts most objects, with outlines.

    Args:
        samples: a batch, or pairs of image and labels ``[D, H, W]``.
        path: file to write, as for :func:`planes`.
        titles: one per sample; None for the number of objects and the plane.
        columns: number of panels in a row.

    Returns:
        ``path``.

    Raises:
        ValueError: no samples, or an unknown format.
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
        _hide_axes(panel)
    for i, (image, labels) in enumerate(pairs):
        z = best_planes(labels, image)[0]
        panel = grid[i // columns][i % columns]
        _show(panel, image[z], labels[z], display_range(image), 1.0)
        objects = np.unique(labels[labels > 0]).size
        panel.set_title(titles[i] if titles else f"{number_of(objects, 'object')}, z = {z}", fontsize=7)
    return _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """A volume in a picture.

    Attributes:
        name: title of the panel.
        volume: grey values ``[D, H, W]``; leading axes of length one are dropped.
        labels: integer labels ``[D, H, W]`` whose outlines are drawn; None for no outlines.
        limits: grey values shown as black and white; None for the display range of the volume.
    """

    name: str
    volume: Any
    labels: Any = None
    limits: tuple[float, float] | None = None


def columns(samples: Sequence[Sequence[Panel]], path: Path | str) -> Path:
    """Write a picture with one column per sample, at the z plane that cuts most objects.

    Panels of one sample may differ in resolution. The plane has the same relative depth in all of them.

    Args:
        samples: the panels of each sample, from top to bottom. The first panel with labels determines the plane.
        path: file to write, as for :func:`planes`.

    Returns:
        ``path``.

    Raises:
        ValueError: an unknown format.
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
            _show(grid[row][column], volume[z], outlines, shown.limits or display_range(volume), 1.0)
            grid[row][column].set_title(f"{shown.name}, z = {z}{_count(outlines)}", fontsize=6)
    return _save(figure, path)


def _show(panel: Any, image: Plane, labels: Plane | None, limits: tuple[float, float], aspect: float) -> None:
    from matplotlib.collections import LineCollection

    shown = np.nan_to_num(image.astype(np.float32), nan=limits[0], posinf=limits[1], neginf=limits[0])
    panel.imshow(shown, cmap="gray", vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest")
    _hide_axes(panel)
    if labels is not None:
        for label, lines in contours(labels):
            panel.add_collection(LineCollection(lines, colors=[colour(label)], linewidths=0.9))


def _hide_axes(panel: Any) -> None:
    """Draw neither frame nor ticks; ticks that are only not drawn take most of the time of a picture."""
    panel.set_axis_off()
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_visible(False)


def _count(labels: Plane | None) -> str:
    """The number of objects of a plane, for a title."""
    return "" if labels is None else f", {number_of(np.unique(labels[labels > 0]).size, 'object')}"


def _pairs(samples: Sample | Sequence[tuple[Any, Any]]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    if isinstance(samples, Sample):
        return [(_array(i[0]), _array(t[0])) for i, t in zip(samples.image, samples.labels, strict=True)]
    return [(_array(image), _array(labels)) for image, labels in samples]


def _array(values: Any) -> NDArray[Any]:
    """The values as an array ``[D, H, W]``. Leading axes of length one are dropped."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    return array


def _save(figure: Any, path: Path | str) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    path = Path(path)
    check_ending(path)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=140)
    return path


def check_ending(path: Path | str) -> None:
    """Check that a picture can be written to ``path``.

    Args:
        path: the file; the case of its ending does not matter.

    Raises:
        ValueError: the ending of ``path`` is not one of :data:`ENDINGS`.
    """
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot write {path}: pictures end in {', '.join(ENDINGS)}")
