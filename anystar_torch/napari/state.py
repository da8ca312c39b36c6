"""What the user has chosen in the viewer, and what follows from it: the volume, the part in view, the results."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels

from anystar_torch.arrays import Spacing
from anystar_torch.napari.layer_volume import Box, LabelsPlace, LayerVolume
from anystar_torch.napari.models import SHIPPED, Models
from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.segmentation import Segmentation
from anystar_torch.napari.segmenter import Preview, Segmenter, Target

PREVIEW = "AnyStar preview"
"""Name of the layer of the preview; a new preview replaces it."""
_GUESS = 14.0  # voxels: the slab that a preview of unknown size shows
_MICROMETRE = "micrometer"


@dataclass
class State:
    """The choices of the user.

    Attributes:
        viewer: napari's viewer, with or without a screen.
        models: networks that were loaded.
        image: the image layer that is segmented; None while there is none.
        leading: "T" or "C": meaning of the first of four dimensions without names.
        channel: index of the channel.
        all_frames: whether all time points are segmented, or the present one.
        model: name of the model.
        device: "auto", "cpu", "cuda" or "mps".
        diameter: of the median object, in voxels of the finest axis; None to estimate it.
        results: the segmentations by their labels layer.
    """

    viewer: ViewerModel
    models: Models = field(default_factory=Models)
    image: Image | None = None
    leading: str = "T"
    channel: int = 0
    all_frames: bool = False
    model: str = SHIPPED
    device: str = "auto"
    diameter: float | None = None
    results: dict[Labels, ResultLayer] = field(default_factory=dict)
    _segmenters: dict[tuple[str, str], Segmenter] = field(default_factory=dict, repr=False)

    def images(self) -> list[Image]:
        """Image layers of the viewer."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]

    def volume(self) -> LayerVolume:
        """The data of the chosen layer.

        Raises:
            ValueError: there is no layer, or it is no volume.
        """
        if self.image is None:
            raise ValueError(
                "there is no image layer: open a volume, or a sample (File > Open Sample > AnyStar)"
            )
        return LayerVolume.of(self.image, self.leading)

    def frame(self, volume: LayerVolume) -> int:
        """The time point that the viewer shows.

        Args:
            volume: the data of the chosen layer.
        """
        if "T" not in volume.letters:
            return 0
        shown = round(self._position(volume)[volume.letters.index("T")])
        return min(max(shown, 0), volume.count("T") - 1)

    def targets(self) -> list[Target]:
        """The volumes to segment: the present time point, or all.

        Raises:
            ValueError: there is no volume.
        """
        volume = self.volume()
        frames = range(volume.count("T")) if self.all_frames else [self.frame(volume)]
        channel = min(self.channel, volume.count("C") - 1)
        return [Target(volume, frame, channel, volume.spacing[0]) for frame in frames]

    def target(self) -> Target:
        """The volume of the present time point.

        Raises:
            ValueError: there is no volume.
        """
        volume = self.volume()
        channel = min(self.channel, volume.count("C") - 1)
        return Target(volume, self.frame(volume), channel, volume.spacing[0])

    def segmenter(self) -> Segmenter:
        """The chosen network on the chosen device.

        Raises:
            ValueError: the model cannot be read.
        """
        key = self.model, self.device
        if key not in self._segmenters:
            self._segmenters[key] = Segmenter(self.models.load(self.model), self.device)
        return self._segmenters[key]

    def forget(self) -> None:
        """Forget what was computed of volumes, because the data of a layer have changed."""
        for segmenter in self._segmenters.values():
            segmenter.forget()

    def set_spacing(self, spacing: Spacing) -> None:
        """Set the voxel size of the chosen layer, in micrometres. Results lie over it afterwards.

        Args:
            spacing: voxel size (z, y, x).
        """
        volume = self.volume()
        steps = dict(zip("ZYX", spacing, strict=True))
        pairs = list(zip(volume.letters, volume.scale, volume.units, strict=True))
        assert self.image is not None
        self.image.scale = [steps.get(letter, step) for letter, step, _ in pairs]
        self.image.units = [_MICROMETRE if letter in steps else unit for letter, _, unit in pairs]

    def view(self) -> Box:
        """The part of the chosen volume that the viewer shows.

        In a 2D view it is a slab of the thickness of two objects around the plane.

        Raises:
            ValueError: there is no volume.
        """
        volume = self.volume()
        assert self.image is not None
        position = self._position(volume)
        displayed = self._displayed(volume)
        corners = self.image.corner_pixels
        factors = self.image.downsample_factors[self.image.data_level] if self.image.multiscale else None
        parts = []
        for letter, size, step in zip("ZYX", volume.shape, self._steps(volume), strict=True):
            axis = volume.letters.index(letter)
            if axis not in displayed:
                reach = math.ceil((self.diameter or _GUESS) / step)
                centre = min(max(round(position[axis]), 0), size - 1)
                parts.append(slice(max(0, centre - reach), min(size, centre + reach + 1)))
                continue
            factor = 1 if factors is None else float(factors[axis])
            low, high = int(corners[0, axis] * factor), math.ceil((corners[1, axis] + 1) * factor)
            seen = slice(max(0, low), min(size, high))
            # without a screen there are no corners: the whole axis is in view
            parts.append(seen if corners[1].any() and seen.stop > seen.start else slice(0, size))
        z, y, x = parts
        return z, y, x

    def add_result(self, result: Segmentation) -> ResultLayer:
        """Show a segmentation in a new labels layer.

        Args:
            result: the segmentation.
        """
        shown = ResultLayer(result, f"{result.place.source.name} objects")
        self.viewer.add_layer(shown.layer)
        self.results[shown.layer] = shown
        self.show_frame(shown)
        return shown

    def fork(self, shown: ResultLayer) -> ResultLayer:
        """Show the segmentation of a corrected result in a new layer, so that no correction is lost.

        Args:
            shown: the corrected result; its layer stays as it is.
        """
        name = shown.layer.name
        shown.layer.name = f"{name} (corrected)"
        copy = self.add_result(replace(shown.result, live=dict(shown.result.live)))
        copy.layer.name = name
        return copy

    def show_frame(self, shown: ResultLayer) -> None:
        """Set the present time point of a result to that of the viewer, if it has one there.

        Args:
            shown: the result.
        """
        frame = self.frame(shown.result.place.source)
        if frame in shown.result.live:
            shown.frame = frame

    def add_preview(self, preview: Preview, volume: LayerVolume, channel: int) -> Labels:
        """Show a preview in its layer.

        Args:
            preview: the objects in view.
            volume: the data of the image.
            channel: the channel that was segmented.
        """
        z, y, x = preview.found.labels.shape
        place = LabelsPlace(volume, channel, preview.start, (z, y, x))
        frame = self.frame(volume)
        data = place.empty()
        place.volume(data, frame)[...] = preview.found.labels
        if PREVIEW in self.viewer.layers:
            self.viewer.layers.remove(PREVIEW)
        layer = Labels(data, name=PREVIEW, scale=volume.scale, translate=place.translate, units=volume.units)
        self.viewer.add_layer(layer)
        return layer

    def remove_preview(self) -> None:
        """Remove the layer of the preview."""
        if PREVIEW in self.viewer.layers:
            self.viewer.layers.remove(PREVIEW)

    def active(self) -> ResultLayer | None:
        """The result that controls act on: that of the selected labels layer, or else the latest."""
        self.results = {layer: shown for layer, shown in self.results.items() if layer in self.viewer.layers}
        selected = self.viewer.layers.selection.active
        if selected in self.results:
            return self.results[selected]
        return next(reversed(self.results.values()), None)

    def _position(self, volume: LayerVolume) -> Any:
        """The elements of the layer that the viewer shows, one per dimension."""
        assert self.image is not None
        point = self.viewer.dims.point[-len(volume.letters) :]
        return self.image.world_to_data(point)

    def _displayed(self, volume: LayerVolume) -> set[int]:
        """Dimensions of the layer that are displayed."""
        more = self.viewer.dims.ndim - len(volume.letters)
        return {axis - more for axis in self.viewer.dims.displayed}

    def _steps(self, volume: LayerVolume) -> list[float]:
        """Voxel size (z, y, x) in voxels of the finest axis."""
        spacing = volume.spacing[0] or (1.0, 1.0, 1.0)
        return [step / min(spacing) for step in spacing]
