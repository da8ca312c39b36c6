"""Labels as files store them: whole numbers of any type, with ids of any size."""

import numpy as np
from jaxtyping import Int32, Integer, Shaped
from numpy.typing import NDArray

_TOLERANCE = 1e-3  # of what a scale factor in single precision makes of a whole number
_LARGEST = np.iinfo(np.int32).max


def whole_numbers(array: Shaped[np.ndarray, "*shape"], where: str) -> Integer[np.ndarray, "*shape"]:
    """Labels as integers: floats are taken where all of them are whole numbers up to rounding.

    Tools that store labels with a scale factor give 2.00007 for 2.

    Args:
        array: labels of any real type.
        where: what errors call the file.

    Raises:
        ValueError: values are negative, infinite, not a number, fractions, or beyond 64 bits.
    """
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind == "f":
        array = _rounded(array, where)
    kind = np.dtype(f"{array.dtype.kind}{array.dtype.itemsize}")
    array = array.astype(kind, copy=False).view(
        kind
    )  # native bytes, and one type of the two that C has for 64 bits
    if array.size and array.min() < 0:
        raise ValueError(f"{where} has negative labels; labels start at 0 (background)")
    return array


def _rounded(array: Shaped[np.ndarray, "*shape"], where: str) -> Integer[np.ndarray, "*shape"]:
    labels = np.empty(array.shape, np.int64)
    rounds_to_zero = False
    for part, values in zip(labels.reshape(len(labels), -1), array.reshape(len(array), -1), strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{where} has voxels that are no number, so it has no labels; set them to 0")
        whole = np.rint(values)
        if (np.abs(whole) >= 2.0**63).any():
            raise ValueError(f"{where} has labels beyond 64 bits; renumber them")
        if (np.abs(values - whole) > _TOLERANCE).any():
            raise ValueError(
                f"{where} holds fractions, not labels; was the image given instead of its labels?"
            )
        rounds_to_zero = rounds_to_zero or bool(((whole == 0) & (values != 0)).any())
        part[...] = whole.astype(np.int64)
    if rounds_to_zero and not labels.any():
        raise ValueError(
            f"{where} holds fractions near 0, not labels; was the image given instead of its labels?"
        )
    return labels


def int32_ids(labels: Integer[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*shape"]:
    """The same objects with ids that fit into int32: unchanged where they do, else renumbered 1..N in their order.

    Args:
        labels: ids from 0 on, 0 = background.
    """
    if labels.size == 0 or labels.max() <= _LARGEST:
        return labels.astype(np.int32)
    ids, dense = np.unique(labels, return_inverse=True)
    renumbered: NDArray[np.int32] = (dense.reshape(labels.shape) + (ids[0] > 0)).astype(np.int32)
    return renumbered


def compact(labels: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Labels as files of results hold them: uint16, or int32 where an id is above 65535.

    Args:
        labels: integer labels.

    Raises:
        ValueError: a label is negative or beyond int32: writing it would change it.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > _LARGEST:
        raise ValueError(
            f"labels must be between 0 and {_LARGEST} to be written, got {low if low < 0 else high}; renumber them"
        )
    return labels.astype(np.uint16 if high < 1 << 16 else np.int32, copy=False)
