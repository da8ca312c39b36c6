"""Corrections of labels by clicks: add, delete and split objects; and what was corrected."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer
from scipy import ndimage

from anystar_torch.arrays import Spacing, Triple
from anystar_torch.napari.layer_volume import Box
from anystar_torch.napari.polyhedron import Polyhedron

Labels = Integer[np.ndarray, "d h w"]


class Change(NamedTuple):
    """A new label of some voxels.

    Attributes:
        place: indices (z, y, x) of the voxels.
        label: their new label.
    """

    place: tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]
    label: int


def added(labels: Labels, polyhedron: Polyhedron, used: int = 0) -> Change:
    """A new object: the free voxels of a polyhedron.

    Args:
        labels: of the volume.
        polyhedron: the object.
        used: highest label of objects that may be deleted by now; the new object gets a higher one.

    Raises:
        ValueError: other objects cover it.
    """
    z, y, x = labels.shape
    box, inside = polyhedron.mask((z, y, x))
    free = inside & (labels[box] == 0)
    if not free.any():
        raise ValueError("other objects cover this place: delete or split them first")
    return _change(free, box, max(int(labels.max()), used) + 1)


def deleted(labels: Labels, label: int) -> Change:
    """An object becomes background.

    Args:
        labels: of the volume.
        label: the object.

    Raises:
        ValueError: there is no such object.
    """
    box, inside = _object(labels, label)
    return _change(inside, box, 0)


def split(
    labels: Labels, first: Triple, second: Triple, spacing: Spacing | None = None, used: int = 0
) -> Change:
    """An object becomes two, around two of its voxels.

    A watershed of the distance to the object's border from the two voxels: the cut lies at the narrowest place between
    them.

    Args:
        labels: of the volume.
        first: voxel (z, y, x) of the part that keeps the label.
        second: voxel of the part that becomes a new object.
        spacing: voxel size (z, y, x); None for cubic voxels.
        used: highest label of objects that may be deleted by now; the new object gets a higher one.

    Raises:
        ValueError: the voxels are the same, or do not lie in one object.
    """
    label = int(labels[first])
    if label == 0 or labels[second] != label or first == second:
        raise ValueError("click on two places of one object to split it")
    box, inside = _object(labels, label)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)
    starts = [
        tuple(v - part.start + 1 for v, part in zip(voxel, box, strict=True)) for voxel in (first, second)
    ]
    parts = _flooded(depth, starts)[1:-1, 1:-1, 1:-1]
    return _change(parts == len(starts), box, max(int(labels.max()), used) + 1)


def _flooded(depth: Float64[np.ndarray, "d h w"], starts: Sequence[Triple]) -> Int32[np.ndarray, "d h w"]:
    """Watershed from some voxels: the deepest neighbour of what is labelled is labelled next.

    Args:
        depth: distance to the border of the object, 0 outside and on the border of the array.
        starts: voxels that get the labels 1, 2 and so on.

    Returns:
        Labels of the voxels that are inside.
    """
    flat = depth.reshape(-1)
    _, height, width = depth.shape
    steps = (1, -1, width, -width, height * width, -height * width)
    owner = np.zeros(len(flat), np.int32)
    queue = [(-flat[index], i, index) for i, index in enumerate(map(_index(depth.shape), starts), 1)]
    for _, label, index in queue:
        owner[index] = label
    heapq.heapify(queue)
    while queue:
        _, label, index = heapq.heappop(queue)
        for step in steps:
            near = index + step
            if flat[near] > 0 and not owner[near]:
                owner[near] = label
                heapq.heappush(queue, (-flat[near], label, near))
    return owner.reshape(depth.shape)


def _index(shape: tuple[int, ...]) -> Callable[[Triple], int]:
    return lambda voxel: int(np.ravel_multi_index(voxel, shape))


def _object(labels: Labels, label: int) -> tuple[Box, np.ndarray]:
    """The box of an object, and its voxels in the box."""
    box = changed_box(labels == label)
    if label == 0 or box is None:
        raise ValueError("there is no object at this place")
    return box, labels[box] == label


def _change(mask: np.ndarray, box: Box, label: int) -> Change:
    z, y, x = (index + part.start for index, part in zip(np.nonzero(mask), box, strict=True))
    return Change((z, y, x), label)


def changed_box(changed: np.ndarray) -> Box | None:
    """The smallest box that holds all true voxels; None where there are none.

    Args:
        changed: booleans (z, y, x).
    """
    parts = []
    for axis in range(3):
        found = np.flatnonzero(changed.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(found):
            return None
        parts.append(slice(int(found[0]), int(found[-1]) + 1))
    return parts[0], parts[1], parts[2]


def kept_labels(original: Labels, corrected: Labels) -> set[int]:
    """Labels of objects that still have a voxel of theirs. Others are gone, or were given to new objects.

    Args:
        original: the labels of the run.
        corrected: the labels now.
    """
    there = np.zeros(int(original.max(initial=0)) + 1, np.bool_)
    for before, now in zip(original, corrected, strict=True):
        there[before[before == now]] = True
    return set(np.flatnonzero(there).tolist()) - {0}


@dataclass(frozen=True)
class Difference:
    """What was corrected in labels, by clicks or with napari's tools.

    Attributes:
        added: number of new objects, also those with the label of an object that is gone.
        deleted: number of objects that are gone.
        changed: number of other objects whose voxels are not the same.
        box: the smallest box that holds all corrections; None where there are none.
    """

    added: int
    deleted: int
    changed: int
    box: Box | None

    @classmethod
    def between(cls, original: Labels, corrected: Labels) -> "Difference":
        """What was corrected.

        Args:
            original: the labels of the run.
            corrected: the labels now.
        """
        differs = original != corrected
        box = changed_box(differs)
        if box is None:
            return cls(0, 0, 0, None)
        before, after = set(np.unique(original).tolist()) - {0}, set(np.unique(corrected).tolist()) - {0}
        touched = set(original[box][differs[box]].tolist()) | set(corrected[box][differs[box]].tolist())
        kept = kept_labels(original, corrected)
        return cls(len(after - kept), len(before - kept), len(touched & kept), box)

    def __bool__(self) -> bool:
        return self.box is not None

    def __str__(self) -> str:
        if not self:
            return "no corrections"
        return (
            f"objects corrected by hand: {self.added} added, {self.deleted} deleted, {self.changed} changed"
        )
