"""What the user has chosen in the viewer, and what follows from it: the volume, the part in view, the results."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels

from anystar_torch.io.voxel_size import micrometres
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
        assert self.image is not None
        shown = round(self._position(self.image)[volume.letters.index("T")])
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

    def watch(self, image: Image) -> None:
        """Call :meth:`forget` when the data of an image layer are replaced, or edited in place and refreshed.

        Args:
            image: the layer.
        """
        last = self._shown()

        def refreshed(event: Any = None) -> None:
            nonlocal last
            before, last = last, self._shown()
            # napari shows the same plane again: its data may be new. It does so for a multiscale layer at every zoom.
            if last == before and not image.multiscale:
                self.forget()

        image.events.data.connect(lambda event: self.forget())
        image.events.set_data.connect(refreshed)

    def forget(self) -> None:
        """Forget what was computed of volumes, because the data of a layer have changed."""
        for segmenter in self._segmenters.values():
            segmenter.forget()

    def forget_removed(self) -> None:
        """Forget what was computed of volumes that no image layer and no result shows any more."""
        self.active()  # leaves out results whose layer was removed
        arrays = [image.data[0] if image.multiscale else image.data for image in self.images()]
        arrays += [shown.result.place.source.levels[0] for shown in self.results.values()]
        for segmenter in self._segmenters.values():
            segmenter.forget_all_but(arrays)

    def set_spacing(self, spacing: Sequence[float | None]) -> None:
        """Set the voxel size of the chosen layer. Results lie over it afterwards.

        Args:
            spacing: voxel size (z, y, x) in micrometres; None for an axis that stays as it is.
        """
        volume = self.volume()
        assert self.image is not None
        scale, units = list(volume.scale), list(volume.units)
        for letter, step in zip("ZYX", spacing, strict=True):
            place = volume.letters.index(letter)
            if step is None:
                continue
            unit = micrometres(units[place])
            if unit is None:
                units[place], unit = _MICROMETRE, 1.0
            # affine, shear and direction stay
            scale[place] = scale[place] / volume.steps[place] * (step / unit)
        self.image.scale, self.image.units = scale, units

    def view(self, shown: ResultLayer | None = None) -> Box:
        """The part of the chosen volume, or of the volume of a result, that the viewer shows.

        In a 2D view it is a slab of the thickness of two objects around the plane.

        Args:
            shown: the result; None for the chosen volume.

        Raises:
            ValueError: there is no volume.
        """
        volume = self.volume() if shown is None else shown.result.place.source
        layer = self.image if shown is None else shown.layer
        assert layer is not None
        position = self._position(layer)
        displayed = self._displayed(volume)
        corners = layer.corner_pixels
        factors = layer.downsample_factors[layer.data_level] if layer.multiscale else None
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
            shown: the corrected result; its layer stays as it is, with the thresholds that it shows.
        """
        if shown.pending:
            shown.withdraw()
        name = shown.layer.name
        copy = self.add_result(replace(shown.result, live=dict(shown.result.live)))
        shown.layer.name = f"{name} (corrected)"
        copy.layer.name = name
        return copy

    def show_frame(self, shown: ResultLayer) -> None:
        """Set the present time point of a result to that of the viewer, if it has one there.

        Args:
            shown: the result.
        """
        frame, _ = shown.result.place.position(self._position(shown.layer))
        if frame in shown.result.live:
            shown.frame = frame

    def add_preview(self, preview: Preview, volume: LayerVolume, channel: int, frame: int = 0) -> Labels:
        """Show a preview in its layer.

        Args:
            preview: the objects in view.
            volume: the data of the image.
            channel: the channel that was segmented.
            frame: the time point that was segmented.
        """
        z, y, x = preview.found.labels.shape
        place = LabelsPlace(volume, channel, preview.start, (z, y, x), frame)
        data = place.empty()
        place.volume(data, frame)[...] = preview.found.labels
        if PREVIEW in self.viewer.layers:
            self.viewer.layers.remove(PREVIEW)
        layer = Labels(data, name=PREVIEW, **place.transform)
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

    def _position(self, layer: Image | Labels) -> Any:
        """The elements of a layer that the viewer shows, one per dimension."""
        return layer.world_to_data(self.viewer.dims.point)

    def _shown(self) -> tuple[object, ...]:
        """The plane that the viewer shows, or its dimensions in a 3D view."""
        dims = self.viewer.dims
        return dims.point, dims.order, dims.ndisplay

    def _displayed(self, volume: LayerVolume) -> set[int]:
        """Dimensions of the layer that are displayed."""
        more = self.viewer.dims.ndim - len(volume.letters)
        return {axis - more for axis in self.viewer.dims.displayed}

    def _steps(self, volume: LayerVolume) -> list[float]:
        """Voxel size (z, y, x) in voxels of the finest axis."""
        spacing = volume.spacing[0] or (1.0, 1.0, 1.0)
        return [step / min(spacing) for step in spacing]
