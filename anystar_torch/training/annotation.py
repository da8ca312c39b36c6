"""Annotated volumes of a user: what is read, what is known of every voxel, and what is refused before training.

Most annotations are partial. Every voxel is an object (label above 0), background (0) or not annotated
(:data:`UNKNOWN`, -1). Voxels that are not annotated count in no loss and in no score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Shaped

from anystar_torch.arrays import Spacing
from anystar_torch.io.labels import whole_numbers
from anystar_torch.training.annotation_checks import (
    check_image,
    check_objects,
    check_single_voxels,
    check_voxel_shape,
)
from anystar_torch.training.object_sizes import median_diameter
from anystar_torch.training.volume_files import VolumeFiles, check_diameter, check_keys, check_once, choosing

KEYS = (
    *("image", "labels", "spacing", "diameter", "boxes", "slices", "objects_only", "unknown"),
    *choosing("labels"),
)
"""Keys of a volume in a configuration."""

UNKNOWN = -1
"""Label of voxels that are not annotated."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A volume with labels of some or all of its voxels.

    Attributes:
        name: name of the volume in messages and pictures.
        image: ``[D, H, W]``, any real type.
        labels: ``[D, H, W]``, object above 0, background 0, :data:`UNKNOWN` where nothing is annotated.
        spacing: voxel size (z, y, x); the voxel shape of the network where the size is not known.
        diameter: volume-equivalent diameter of the median object, in voxels of the finest axis or with a unit ("8um").
        objects_only: whether only objects are annotated, and no background.
    """

    name: str
    image: Shaped[np.ndarray, "d h w"]
    labels: Int32[np.ndarray, "d h w"]
    spacing: Spacing
    diameter: float | str
    objects_only: bool = False

    @property
    def objects(self) -> list[int]:
        """Labels of the annotated objects, ascending."""
        found: list[int] = np.unique(self.labels[self.labels > 0]).tolist()
        return found

    @classmethod
    def read(  # noqa: PLR0913 - one argument per key
        cls,
        *,
        image: str,
        labels: str,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        boxes: Sequence[Any] | None = None,
        slices: Sequence[Any] | None = None,
        objects_only: bool = False,
        unknown: int = UNKNOWN,
        anisotropy: Spacing = (1.0, 1.0, 1.0),
        **choice: Any,
    ) -> "Annotation":
        """Read a volume and its labels, and check them.

        Where both files have a place in space, the labels are turned to the axes of the volume.

        Args:
            image: file or folder of the volume.
            labels: file or folder of the labels.
            spacing: voxel size (z, y, x) in micrometres, which replaces those of the files; None for that of the image.
            diameter: diameter of the median object, in voxels of the finest axis or with a unit ("8um"); None to
                measure it on the labels that count.
            boxes: boxes ``[[z, z], [y, y], [x, x]]`` that are annotated, first voxel and voxel after the last; None for
                the whole volume. Objects that a face of a box cuts do not count.
            slices: ranges ``[z, z]`` of slices that are annotated: boxes over the whole of y and x.
            objects_only: whether only objects are annotated. Label 0 then means "not annotated".
            unknown: label of voxels that are not annotated. Objects that touch them do not count, except with
                ``objects_only``.
            anisotropy: voxel shape (z, y, x) of a volume without voxel size: that of the network.
            choice: ``channel``, ``frame``, ``axes`` and ``scene`` of the volume, as for :func:`anystar_torch.io.read`,
                and ``labels_channel``, ``labels_frame``, ``labels_axes`` and ``labels_scene`` of the labels.

        Raises:
            ValueError: a file cannot be read, or the annotation is wrong. The message is one line.
        """
        check_keys(choice, KEYS)
        scan, stored = VolumeFiles.of(image, labels, choice).read(spacing, as_stored=True)
        check_image(image, scan.array)
        check_diameter(diameter, scan, image)
        given = _dense(stored.array, labels, unknown)
        check_objects(labels, given)
        known = _annotated(given, labels, boxes, slices, objects_only)
        if not (known > 0).any():
            raise ValueError(
                f"{labels}: no object is whole inside of the annotated voxels; annotate whole objects, larger boxes or "
                "more neighbouring slices"
            )
        check_single_voxels(labels, known)
        if scan.spacing is None:
            check_voxel_shape(image, known, anisotropy)
        voxel = scan.spacing or anisotropy
        size = median_diameter(known.clip(0), voxel) if diameter is None else diameter
        return cls(
            name=name_of(image),
            image=scan.array,
            labels=known,
            spacing=voxel,
            diameter=size if isinstance(size, str) else float(size),
            objects_only=objects_only,
        )


def name_of(image: str) -> str:
    """Name of a volume in messages and pictures: that of its file, or of its folder if the file is called "image".

    Args:
        image: path of the volume.
    """
    path = Path(image)
    return path.parent.name if path.stem == "image" else path.name.split(".")[0]


def read_annotations(
    volumes: Sequence[Mapping[str, Any]], anisotropy: Spacing = (1.0, 1.0, 1.0)
) -> list[Annotation]:
    """Read the volumes of a fine-tuning.

    Args:
        volumes: arguments of :meth:`Annotation.read`, one set per volume.
        anisotropy: voxel shape (z, y, x) of volumes without voxel size: that of the network.

    Raises:
        ValueError: no volume, a volume without image or labels, an unknown key, a volume that is given twice, or an
            annotation that is wrong. The message is one line.
    """
    if not volumes:
        raise ValueError(
            "fine-tuning needs an annotated volume: 'data.annotated=[{image: a.tif, labels: a_labels.tif}]'"
        )
    for volume in volumes:
        for key in ("image", "labels"):
            if volume.get(key) is None:
                raise ValueError(f"data.annotated: a volume has no {key}, got {dict(volume)}")
        check_keys(volume, KEYS, "data.annotated: ")
    check_once([VolumeFiles.of(volume["image"], volume["labels"], volume) for volume in volumes])
    return [Annotation.read(**volume, anisotropy=anisotropy) for volume in volumes]


def without_cut_objects(
    labels: Int32[np.ndarray, "d h w"], given: Int32[np.ndarray, "d h w"]
) -> Int32[np.ndarray, "d h w"]:
    """The labels without objects that touch voxels that are not annotated: those may be cut there.

    Args:
        labels: object above 0, background 0, :data:`UNKNOWN`.
        given: the same before boxes were applied, to find objects that continue outside of them.

    Returns:
        ``labels``, in which the voxels of these objects are :data:`UNKNOWN`.
    """
    unknown = labels == UNKNOWN
    if not unknown.any():
        return labels
    cut = np.unique(np.concatenate([labels[_beside(unknown)], given[unknown]]))
    whole: Int32[np.ndarray, "d h w"] = np.where(np.isin(labels, cut[cut > 0]), np.int32(UNKNOWN), labels)
    return whole


def _beside(mask: Bool[np.ndarray, "d h w"]) -> Bool[np.ndarray, "d h w"]:
    """Voxels with one of their six neighbours in ``mask``."""
    near = np.zeros_like(mask)
    for axis in range(3):
        after, before = [slice(None)] * 3, [slice(None)] * 3
        after[axis], before[axis] = slice(1, None), slice(None, -1)
        near[tuple(after)] |= mask[tuple(before)]
        near[tuple(before)] |= mask[tuple(after)]
    return near


def _dense(array: Shaped[np.ndarray, "d h w"], path: str, unknown: int) -> Int32[np.ndarray, "d h w"]:
    """Stored labels as dense ids, with :data:`UNKNOWN` in place of the label ``unknown``."""
    if array.dtype.kind == "f" and array.size and 0 <= float(array.min()) <= float(array.max()) <= 1:
        inside = array[(array > 0) & (array < 1)]
        if inside.size:
            raise ValueError(
                f"{path} holds fractions between 0 and 1, as a probability map does; give labels, one whole number per "
                "object"
            )
    missing = array == unknown
    ids, dense = np.unique(whole_numbers(np.where(missing, 0, array), path), return_inverse=True)
    given: Int32[np.ndarray, "d h w"] = (dense.reshape(array.shape) + (ids[0] > 0)).astype(np.int32)
    given[missing] = UNKNOWN
    return given


def _annotated(
    given: Int32[np.ndarray, "d h w"],
    path: str,
    boxes: Sequence[Any] | None,
    slices: Sequence[Any] | None,
    objects_only: bool,
) -> Int32[np.ndarray, "d h w"]:
    """The labels that count, :data:`UNKNOWN` elsewhere: outside of the boxes and slices, and on objects cut there.

    With ``objects_only`` also on background, and the label of voxels that are not annotated cuts no object.
    """
    if objects_only:
        given = given.clip(0)
    labels = without_cut_objects(_inside(given, path, boxes, slices), given)
    if objects_only:
        labels = np.where(labels == 0, np.int32(UNKNOWN), labels)
    return labels


def _inside(
    given: Int32[np.ndarray, "d h w"],
    path: str,
    boxes: Sequence[Any] | None,
    slices: Sequence[Any] | None,
) -> Int32[np.ndarray, "d h w"]:
    """The labels inside of the boxes and slices, :data:`UNKNOWN` elsewhere."""
    if boxes is None and slices is None:
        return given
    whole = [[0, size] for size in given.shape]
    labels = np.full_like(given, UNKNOWN)
    for box in [*(boxes or ()), *([part, *whole[1:]] for part in slices or ())]:
        place = _box(box, given.shape, path)
        labels[place] = given[place]
    return labels


def _box(box: Any, shape: Sequence[int], path: str) -> tuple[slice, ...]:
    """The slices of a box.

    Raises:
        ValueError: it is not three ranges of voxels inside of the volume.
    """
    try:
        ranges = [(int(start), int(stop)) for start, stop in box]
    except (TypeError, ValueError):
        ranges = []
    if len(ranges) != 3 or not all(
        0 <= start < stop <= size for (start, stop), size in zip(ranges, shape, strict=True)
    ):
        raise ValueError(
            f"{path}: a box must be [[z, z], [y, y], [x, x]], and slices [z, z], inside of the volume of "
            f"{tuple(shape)} voxels, got {box}"
        )
    return tuple(slice(start, stop) for start, stop in ranges)
