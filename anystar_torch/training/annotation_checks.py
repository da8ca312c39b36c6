"""Checks of annotated volumes before a training starts. Every error is one line."""

import numpy as np
from jaxtyping import Int32, Int64, Shaped
from scipy import ndimage

from anystar_torch.arrays import Spacing
from anystar_torch.system.wording import number_of

_PIECES = 5
"""Separate pieces per label from which labels are taken for a mask or a map of grey values."""
_PART = 0.25
"""Size of a piece over that of the largest one from which the only label is taken for that of several objects."""
_ELONGATED = 1.5
"""Extent along z over that across, or the inverse, from which the voxel shape of the network is taken not to hold."""


def check_image(path: str, image: Shaped[np.ndarray, "d h w"]) -> None:
    """Refuse an image with one grey value.

    Args:
        path: of the image, for the message.
        image: ``[D, H, W]``.

    Raises:
        ValueError: all voxels have the same value.
    """
    if image.size and image.min() == image.max():
        raise ValueError(f"{path} has the same value in all voxels; give the image that was annotated")


def check_objects(path: str, labels: Int32[np.ndarray, "d h w"]) -> None:
    """Refuse labels without objects, with one label for several pieces, or with many pieces.

    Args:
        path: of the labels, for the message.
        labels: ``[D, H, W]``, objects above 0.

    Raises:
        ValueError: the labels are wrong.
    """
    objects = int(np.count_nonzero(_voxels(labels)))
    if not objects:
        raise ValueError(f"{path} has no objects: all labels are 0 or not annotated")
    sizes = _pieces(labels)
    if objects == 1 and np.count_nonzero(sizes >= _PART * sizes.max()) > 1:
        raise ValueError(
            f"{path} has one label in {len(sizes)} separate pieces, as a mask; give every object a label of its own"
        )
    if len(sizes) > max(_PIECES * objects, objects + 20):
        raise ValueError(
            f"{path} has {number_of(int(objects), 'label')} in {len(sizes)} separate pieces, as a probability map or "
            "an image; give labels, one whole number per object"
        )


def check_single_voxels(path: str, labels: Int32[np.ndarray, "d h w"]) -> None:
    """Refuse objects of one voxel.

    Args:
        path: of the labels, for the message.
        labels: ``[D, H, W]``, objects above 0, without those that do not count.

    Raises:
        ValueError: an object has one voxel.
    """
    counts = _voxels(labels)
    single = np.flatnonzero(counts == 1)
    if single.size:
        place = tuple(int(n) for n in np.argwhere(labels == single[0])[0])
        raise ValueError(
            f"{path}: {single.size} of {np.count_nonzero(counts)} objects have one voxel, such as the one at {place} "
            "(z, y, x); outline or remove them"
        )


def check_voxel_shape(path: str, labels: Int32[np.ndarray, "d h w"], anisotropy: Spacing) -> None:
    """Refuse a volume without voxel size whose objects are much shorter or longer along z than across.

    Args:
        path: of the image, for the message.
        labels: ``[D, H, W]``, objects above 0.
        anisotropy: voxel shape (z, y, x) that is assumed.

    Raises:
        ValueError: the voxels probably have another shape.
    """
    boxes = [box for box in ndimage.find_objects(labels.clip(0)) if box]
    inside = [
        [side.stop - side.start for side in box]
        for box in boxes
        if not any(side.start == 0 or side.stop == size for side, size in zip(box, labels.shape, strict=True))
    ]
    extents = np.array(inside or [[side.stop - side.start for side in box] for box in boxes], dtype=float)
    extents *= anisotropy
    ratio = float(np.median(extents[:, 0] / np.sqrt(extents[:, 1] * extents[:, 2])))
    if not 1 / _ELONGATED <= ratio <= _ELONGATED:
        raise ValueError(
            f"{path} has no voxel size, and its objects are {ratio:.2g} times as long along z as across, on voxels of "
            f"the shape that the network was trained on, {anisotropy}; give spacing: [z, y, x]"
        )


def _voxels(labels: Int32[np.ndarray, "d h w"]) -> Int64[np.ndarray, " n"]:
    """Number of voxels of every label, 0 for the background."""
    counts = np.bincount(labels.clip(0).reshape(-1))
    counts[0] = 0
    return counts


def _pieces(labels: Int32[np.ndarray, "d h w"]) -> Int64[np.ndarray, " n"]:
    """Voxels of each connected piece of equal labels above 0 (six neighbours)."""
    sizes = [np.zeros(0, np.int64)]
    for label, box in enumerate(ndimage.find_objects(labels.clip(0)), start=1):
        if box is not None:
            sizes.append(np.bincount(ndimage.label(labels[box] == label)[0].reshape(-1))[1:])
    return np.concatenate(sizes)
