"""The stages of prediction for the layers of a viewer. What was computed is kept for the next step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch.arrays import Spacing, Triple
from anystar_torch.inference import stages
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.input_volume import InputVolume, beyond
from anystar_torch.inference.instances import Instances
from anystar_torch.inference.intensity_range import IntensityRange, intensity_range
from anystar_torch.inference.object_size import ObjectSize
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.napari.layer_volume import Box, LayerVolume

KEPT = 0.5
"""Candidates are kept down to this share of the threshold, as by ``anystar predict --candidates``."""
PREVIEW_VOXELS = 80**3
"""Network voxels of a preview, at most: a few seconds of two CPU cores."""
_SIZE_VOXELS = 128**3  # voxels in view on which the size is estimated
_OPEN = 2  # volumes that stay open, for their intensity range and their size


@dataclass(frozen=True)
class Target:
    """The volume that is segmented.

    Attributes:
        volume: the layer's data.
        frame: index of the time point.
        channel: index of the channel.
        spacing: voxel size (z, y, x); None for the voxel shape that the network was trained on.
    """

    volume: LayerVolume
    frame: int = 0
    channel: int = 0
    spacing: Spacing | None = None

    def same(self, other: "Target") -> bool:
        """Whether another target is the same volume: the same array object with the same choices.

        Args:
            other: the target to compare with.
        """
        mine = self.volume.letters, self.frame, self.channel, self.spacing
        its = other.volume.letters, other.frame, other.channel, other.spacing
        return self.volume.levels[0] is other.volume.levels[0] and mine == its


@dataclass(frozen=True)
class Preview:
    """The objects of a part of a volume.

    Attributes:
        found: the objects whose centre lies in the part, in its voxels.
        start: first voxel of the part, (z, y, x).
    """

    found: Instances
    start: Triple


@dataclass
class _Opened:
    """A volume in memory, with its estimated size once that was computed."""

    target: Target
    volume: InputVolume
    size: ObjectSize | None = None


@dataclass
class Segmenter:
    """A network on a device, and what it has computed of the volumes that were seen last.

    Attributes:
        model: the network and its options.
        device: "auto", "cpu", "cuda" or "mps".
    """

    model: AnyStar
    device: str = "auto"
    _opened: list[_Opened] = field(default_factory=list, repr=False)

    @property
    def lowest(self) -> float:
        """Score above which candidates are kept."""
        return self.model.config.prob_thresh * KEPT

    def opened(self, target: Target) -> InputVolume:
        """Stages 1 and 2: the volume in memory with its intensity range.

        Args:
            target: the volume.

        Raises:
            ValueError: it is no volume that can be segmented.
        """
        return self._open(target).volume

    def _open(self, target: Target) -> _Opened:
        """The volume in memory, from an earlier call if it is one of the latest."""
        known = self._known(target)
        if known is None:
            array = target.volume.read(target.frame, target.channel)
            volume = stages.open_volume(
                array, target.spacing, self.model.config.normalisation, self.model.network.rays
            )
            known = _Opened(target, volume)
            self._opened = [*self._opened, known][-_OPEN:]
        return known

    def _known(self, target: Target) -> _Opened | None:
        """The volume where it is in memory already."""
        return next((one for one in self._opened if one.target.same(target)), None)

    def forget(self) -> None:
        """Forget what was computed, because the data of a layer have changed."""
        self._opened = []

    def forget_all_but(self, arrays: Sequence[Any]) -> None:
        """Forget what was computed of other data than these, and release their memory.

        Args:
            arrays: data of layers, the finest level of each.
        """
        self._opened = [
            one for one in self._opened if any(one.target.volume.levels[0] is array for array in arrays)
        ]

    def size(self, target: Target) -> ObjectSize:
        """Stage 3: the estimated size of the objects.

        Args:
            target: the volume.
        """
        known = self._open(target)
        if known.size is None:
            settings = self.model.settings(self.device, progress=False)
            known.size = stages.object_size(known.volume, None, settings)
        return known.size

    def candidates(self, target: Target, diameter: float | None) -> Candidates:
        """Stages 3 to 6: the candidates of a volume, from which thresholds make objects.

        Args:
            target: the volume.
            diameter: in voxels of the finest axis; None to estimate it.
        """
        settings = self.model.settings(self.device, progress=False)
        size = self.size(target) if diameter is None else None
        used = diameter if size is None else size.diameter
        found = stages.find_candidates(self.opened(target), used, self.lowest, settings)
        if size is None:
            return found
        return replace(found, estimate=size.estimate, warnings=(*size.warnings, *found.warnings))

    def preview(
        self, target: Target, diameter: float | None, view: Box, thresholds: tuple[float, float]
    ) -> Preview:
        """The objects of the part of a volume that is in view, as the prediction of the volume would find them.

        The part is reduced around its centre to :data:`PREVIEW_VOXELS`, and read with a margin of one diameter.

        Args:
            target: the volume.
            diameter: in voxels of the finest axis; None to estimate it, on the part in view where the volume is not
                in memory.
            view: the part in view.
            thresholds: ``prob_thresh`` and ``nms_thresh``.
        """
        rays = self.model.network.rays
        spacing = target.spacing or rays.anisotropy
        median = self.model.config.diameter_band[1]
        if diameter is None and in_memory(target.volume):
            diameter = self.size(target).diameter
        elif diameter is None:
            diameter = self._size_in_view(target, view, spacing)
        inner = reduced(view, target.volume.shape, spacing, diameter, median)
        outer = grown(inner, target.volume.shape, spacing, diameter)
        voxels = target.volume.read(target.frame, target.channel, outer)
        settings = self.model.settings(self.device, progress=False)
        part = InputVolume(voxels, spacing, self._intensities(target, voxels))
        found = stages.find_candidates(part, diameter, thresholds[0], settings)
        objects = self.model.instances(found, thresholds[1])
        first = [a.start - b.start for a, b in zip(inner, outer, strict=True)]
        sizes = [a.stop - a.start for a in inner]
        z, y, x = (a.start for a in inner)
        return Preview(_inside(objects, first, sizes), (z, y, x))

    def _size_in_view(self, target: Target, view: Box, spacing: Spacing) -> float:
        """The size of the objects in view, of a volume that is not in memory."""
        part = reduced(view, target.volume.shape, spacing, 1.0, 1.0, _SIZE_VOXELS)
        voxels = target.volume.read(target.frame, target.channel, part)
        around = beyond(part, target.volume.shape)
        volume = InputVolume(voxels, spacing, self._intensities(target, voxels), around)
        return stages.object_size(volume, None, self.model.settings(self.device, progress=False)).diameter

    def _intensities(self, target: Target, voxels: Shaped[np.ndarray, "d h w"]) -> IntensityRange:
        """The intensity range of the volume, or of the coarsest level where the volume is not in memory."""
        known = self._known(target)
        if known is not None:
            return known.volume.intensity_range
        if in_memory(target.volume):
            return self.opened(target).intensity_range
        if len(target.volume.levels) > 1:
            voxels = target.volume.read(target.frame, target.channel, level=len(target.volume.levels) - 1)
        return intensity_range(voxels, self.model.config.normalisation)


def in_memory(volume: LayerVolume) -> bool:
    """Whether the data of a layer are an array in memory.

    Args:
        volume: the data.
    """
    return isinstance(volume.levels[0], np.ndarray) and not isinstance(volume.levels[0], np.memmap)


def reduced(
    view: Box, shape: Triple, spacing: Spacing, diameter: float, median: float, most: int = PREVIEW_VOXELS
) -> Box:
    """A part of a view around its centre that the network predicts in seconds.

    Args:
        view: the part in view.
        shape: of the volume.
        spacing: voxel size (z, y, x).
        diameter: of the objects, in voxels of the finest axis.
        median: diameter that the network was trained on.
        most: network voxels of the part, at most.
    """
    step = [size / min(spacing) * median / diameter for size in spacing]  # network voxels per voxel
    start = [max(0, part.start) for part in view]
    stop = [min(size, part.stop) for part, size in zip(view, shape, strict=True)]
    sides = [max(1, b - a) * s for a, b, s in zip(start, stop, step, strict=True)]
    longest = max(sides)
    while math.prod(min(side, longest) for side in sides) > most:
        longest *= 0.95
    parts = []
    for a, b, s in zip(start, stop, step, strict=True):
        length = min(b - a, max(1, math.floor(longest / s)))
        first = a + (b - a - length) // 2
        parts.append(slice(first, first + length))
    z, y, x = parts
    return z, y, x


def grown(box: Box, shape: Triple, spacing: Spacing, margin: float) -> Box:
    """A box with a margin, inside a volume.

    Args:
        box: the box.
        shape: of the volume.
        spacing: voxel size (z, y, x).
        margin: in voxels of the finest axis.
    """
    more = [math.ceil(margin * min(spacing) / step) for step in spacing]
    z, y, x = (
        slice(max(0, part.start - m), min(size, part.stop + m))
        for part, m, size in zip(box, more, shape, strict=True)
    )
    return z, y, x


def _inside(found: Instances, first: Sequence[int], sizes: Sequence[int]) -> Instances:
    """The objects whose centre lies in a part, in the voxels of this part."""
    start, stop = np.array(first), np.array(first) + sizes
    centres = np.rint(found.points)
    kept = ((centres >= start) & (centres < stop)).all(1)
    ids = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    z, y, x = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return replace(
        found,
        labels=ids[found.labels[z, y, x]],
        points=found.points[kept] - start.astype(np.float32),
        distances=found.distances[kept],
        scores=found.scores[kept],
    )
