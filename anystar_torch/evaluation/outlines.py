"""Outlines of labels, their colours, and the planes of a volume that show most objects."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float64, Integer, Num
from numpy.typing import NDArray

_SAMPLED = 128  # about so many voxels along an axis are enough for statistics of grey values


def contours(plane: Integer[np.ndarray, "h w"]) -> list[tuple[int, list[Float64[np.ndarray, "n 2"]]]]:
    """Outlines of every label of a plane.

    An outline passes half-way between the centres of object voxels and those of other voxels. Outlines of objects that
    touch therefore share this part.

    Args:
        plane: integer labels ``[H, W]``, 0 = background.

    Returns:
        For every label, in ascending order, the label and its closed lines, each ``[N, 2]`` points (x, y) in voxels.
    """
    from contourpy import contour_generator

    outlines = []
    for label, (rows, columns) in _boxes(plane):
        mask = np.pad(plane[rows, columns] == label, 1).astype(np.float64)
        origin = np.array([columns.start - 1, rows.start - 1], np.float64)
        lines = contour_generator(z=mask).lines(0.5)
        outlines.append((label, [np.asarray(line, np.float64) + origin for line in lines]))
    return outlines


def colour(label: int) -> tuple[float, float, float]:
    """Bright colour (red, green, blue) of a label, 0 to 1. Consecutive labels have different hues (golden ratio).

    Args:
        label: of an object, at least 0.
    """
    from matplotlib.colors import hsv_to_rgb

    r, g, b = hsv_to_rgb((label * 0.618034 % 1.0, 0.9, 1.0))
    return float(r), float(g), float(b)


def best_planes(
    labels: Integer[np.ndarray, "d h w"] | None, image: Num[np.ndarray, "d h w"]
) -> tuple[int, int, int]:
    """For each axis the index of the plane that cuts most objects.

    Among equal planes the one with most object voxels is taken, then the one nearest to the centre. Without labels, or
    without objects, it is the plane with the largest standard deviation of the grey values.

    Args:
        labels: integer labels ``[D, H, W]``; None if there are none.
        image: ``[D, H, W]``.
    """
    if labels is None or not labels.any():
        return _planes_of_contrast(image)
    boxes = [box for _, box in _boxes(labels)]
    chosen = []
    for axis, size in enumerate(labels.shape):
        # A connected object is in every plane between its first and its last.
        ends = np.array([(box[axis].start, box[axis].stop) for box in boxes])
        change = np.bincount(ends[:, 0], minlength=size + 1) - np.bincount(ends[:, 1], minlength=size + 1)
        objects = np.cumsum(change)[:size]
        covered = np.count_nonzero(labels, axis=tuple({0, 1, 2} - {axis}))
        off_centre = np.abs(2 * np.arange(size) - size + 1)
        chosen.append(int(np.lexsort((-off_centre, covered, objects))[-1]))
    return chosen[0], chosen[1], chosen[2]


def display_range(volume: Num[np.ndarray, "*shape"]) -> tuple[float, float]:
    """Grey values to show as black and white: the 0.5 % and 99.8 % quantiles of the finite values.

    Args:
        volume: grey values.

    Returns:
        Two different values, also for a constant volume.
    """
    sampled, _ = _sampled(volume)
    values = sampled[np.isfinite(sampled)] if sampled.dtype.kind == "f" else sampled
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values.astype(np.float32), (0.5, 99.8))
    return float(low), float(max(high, low + 1e-6 * max(abs(low), 1.0)))


def _planes_of_contrast(image: NDArray[Any]) -> tuple[int, int, int]:
    sampled, steps = _sampled(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a plane of NaN only has no standard deviation
        spread = [np.nanstd(sampled.astype(np.float64), axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    z, y, x = (int(np.argmax(np.nan_to_num(v))) * step for v, step in zip(spread, steps, strict=True))
    return z, y, x


def _boxes(labels: NDArray[Any]) -> list[tuple[int, tuple[slice, ...]]]:
    """Every label that occurs, ascending, and its bounding box."""
    from scipy import ndimage

    if labels.dtype.kind == "i" and labels.max() <= labels.size:
        boxes = ndimage.find_objects(labels.astype(np.int32, copy=False))
        return [(label, box) for label, box in enumerate(boxes, 1) if box is not None]
    # find_objects returns a list as long as the largest label, so large labels are replaced by dense ids.
    values, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape).astype(np.int32) + (values[0] > 0)
    return list(zip(values[values > 0].tolist(), ndimage.find_objects(dense), strict=True))


def _sampled(volume: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Every n-th voxel along each axis, and n of each axis."""
    steps = [max(1, size // _SAMPLED) for size in volume.shape]
    return volume[tuple(slice(None, None, step) for step in steps)], steps
