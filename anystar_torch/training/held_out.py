"""The held-out part of an annotation: objects that are not trained on, and that choose stage and thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32
from scipy import ndimage

from anystar_torch.training.annotation import UNKNOWN, Annotation

LEAST_OBJECTS = 10
"""Objects of a volume from which a part of it is held out."""


@dataclass(frozen=True)
class Division:
    """Annotated volumes, divided.

    Attributes:
        trained: the volumes with the labels that are trained on.
        held_out: the volumes with labels that are held out; empty where there are too few objects.
    """

    trained: list[Annotation]
    held_out: list[Annotation]


def divide(annotations: Sequence[Annotation], share: float) -> Division:
    """Hold out a part at one end of every volume with at least :data:`LEAST_OBJECTS` objects.

    The part is cut off across the axis along which the centres of the objects spread most, at the end with fewer
    objects per length. An object belongs to the side of its centre, with all its voxels. Other voxels of the held-out
    part are not annotated in the trained labels, and the reverse.

    Args:
        annotations: the volumes.
        share: of the objects that is held out, from 0 (nothing) to 0.5.

    Raises:
        ValueError: the share is outside of this range.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"data.held_out must be from 0 to 0.5, got {share}")
    trained, held_out = [], []
    for annotation in annotations:
        if share == 0 or len(annotation.objects) < LEAST_OBJECTS:
            trained.append(annotation)
            continue
        kept, held = _labels(annotation, share)
        trained.append(replace(annotation, labels=kept))
        held_out.append(replace(annotation, labels=held))
    return Division(trained, held_out)


def _labels(
    annotation: Annotation, share: float
) -> tuple[Int32[np.ndarray, "d h w"], Int32[np.ndarray, "d h w"]]:
    """The labels that are trained on and those that are held out."""
    labels, objects = annotation.labels, np.array(annotation.objects, dtype=np.int32)
    centres = _centres(labels, objects)
    axis = int(np.argmax((centres * np.array(annotation.spacing)).std(0)))
    order = np.argsort(centres[:, axis], kind="stable")
    count = max(1, round(share * len(objects)))
    along = centres[order, axis]
    low_end = along[count] - along[0] >= along[-1] - along[-count - 1]
    cut = (along[count - 1] + along[count]) / 2 if low_end else (along[-count - 1] + along[-count]) / 2
    place = np.arange(labels.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    beyond = (place < cut) if low_end else (place > cut)
    chosen = objects[order[:count] if low_end else order[-count:]]
    held = np.isin(labels, chosen)
    kept_objects = (labels > 0) & ~held
    trained = np.where(held | (beyond & ~kept_objects), np.int32(UNKNOWN), labels)
    rest = np.where(kept_objects | (~beyond & ~held), np.int32(UNKNOWN), labels)
    return trained, rest


def _centres(
    labels: Int32[np.ndarray, "d h w"], objects: Int32[np.ndarray, " n"]
) -> Float64[np.ndarray, "n 3"]:
    """Centre of mass of every object, (z, y, x), voxels."""
    found = ndimage.center_of_mass(labels > 0, labels, objects)
    return np.array(found, dtype=np.float64).reshape(-1, 3)
