"""Corrections by clicks in the viewer: add, delete, split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from anystar_torch.arrays import Triple
from anystar_torch.napari.corrections import Change, added, deleted, split
from anystar_torch.napari.polyhedron import polyhedron_at
from anystar_torch.napari.result_layer import ResultLayer

Tool = Literal["add", "delete", "split"]


@dataclass
class ClickTools:
    """The tool that clicks use.

    Attributes:
        tool: "add", "delete", "split", or None for no correction.
        first: the first of the two voxels of a split.
    """

    tool: Tool | None = None
    first: Triple | None = None

    def choose(self, tool: Tool | None) -> None:
        """Take a tool.

        Args:
            tool: its name, or None.
        """
        self.tool, self.first = tool, None

    def click(
        self, shown: ResultLayer, position: Sequence[float] | NDArray[Any]
    ) -> Callable[[], Change] | None:
        """What a click at a position does to a result.

        Args:
            shown: the result.
            position: world coordinates.

        Returns:
            A function that computes the change; None where another click is needed.

        Raises:
            ValueError: the click is outside of the volume, or not on an object where one is needed.
        """
        voxel = voxel_at(shown, position)
        labels = shown.volume()
        if self.tool == "add":
            frame = shown.frame  # the work starts later, when another time point may be present
            return lambda: _addition(shown, frame, voxel)
        label = int(labels[voxel])
        if label == 0:
            raise ValueError(f"click on an object to {self.tool} it")
        if self.tool == "delete":
            return lambda: deleted(labels, label)
        if self.first is None:
            self.first = voxel
            return None
        (first, self.first), spacing = (self.first, None), shown.result.place.source.spacing[0]
        used = shown.count(shown.frame)
        return lambda: split(labels, first, voxel, spacing, used)


def voxel_at(shown: ResultLayer, position: Sequence[float] | NDArray[Any]) -> Triple:
    """The voxel (z, y, x) of a result at a position.

    Args:
        shown: the result.
        position: world coordinates.

    Raises:
        ValueError: the position is outside of the volume.
    """
    place = shown.result.place
    frame, point = place.position(shown.layer.world_to_data(position))
    z, y, x = (round(p) for p in point)
    inside = all(0 <= p < size for p, size in zip((z, y, x), place.shape, strict=True))
    if not inside or frame not in shown.result.live:
        raise ValueError("click inside of the segmented volume")
    shown.frame = frame
    return z, y, x


def _addition(shown: ResultLayer, frame: int, voxel: Triple) -> Change:
    """The object that the network sees at a voxel."""
    result = shown.result
    segmenter = result.segmenter
    volume = segmenter.opened(result.targets[frame])
    diameter = result.live[frame].candidates.diameter
    settings = segmenter.model.settings(segmenter.device, progress=False)
    z, y, x = voxel
    return added(
        shown.volume(frame), polyhedron_at(volume, (z, y, x), diameter, settings), shown.count(frame)
    )
