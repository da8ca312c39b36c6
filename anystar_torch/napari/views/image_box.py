"""The box that chooses the volume: layer, axes, channel, time points, voxel size."""

from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox

from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.state import State
from anystar_torch.napari.views.parts import Box, fill, note, row, silenced

_MEANINGS = {"time": "T", "channels": "C"}
_DECIMALS, _DIGITS = 9, 6  # of a voxel size in micrometres; a field shows its significant digits


class ImageBox(Box):
    """Chooses the volume.

    Args:
        state: receives the choices.
    """

    changed = Signal()

    def __init__(self, state: State) -> None:
        super().__init__("Image")
        self.state = state
        self.layer, self.leading, self.channel = QComboBox(), QComboBox(), QSpinBox()
        self.all_frames = QCheckBox("all time points")
        self.spacing = [_Length(axis) for axis in "zyx"]
        self.about = note()
        self.leading.addItems(list(_MEANINGS))
        self.leading.setToolTip("Meaning of the first dimension, which has no name.")
        self.rows.addRow("layer", self.layer)
        self.rows.addRow("first axis", self.leading)
        self.rows.addRow("channel", self.channel)
        self.rows.addRow("", self.all_frames)
        self.rows.addRow("voxel (um)", row(*self.spacing))
        self.rows.addRow(self.about)
        self.layer.currentTextChanged.connect(self._choose)
        self.leading.currentTextChanged.connect(self._set_leading)
        self.channel.valueChanged.connect(self._set_channel)
        self.all_frames.toggled.connect(self._set_all)
        for field in self.spacing:
            field.editingFinished.connect(self._set_spacing)
        for image in state.images():
            self.watch(image)
        state.viewer.layers.events.inserted.connect(self._watch_inserted)
        self.refresh_layers()

    def watch(self, image: Image) -> None:
        """Follow the data, the name, the axes and the voxel size of an image layer.

        Args:
            image: the layer.
        """
        self.state.watch(image)
        events = image.events
        for changed in (events.name, events.axis_labels, events.scale, events.units, events.affine):
            changed.connect(self.refresh_layers)

    def _watch_inserted(self, event: Any) -> None:
        if isinstance(event.value, Image):
            self.watch(event.value)

    def refresh_layers(self, event: Any = None) -> None:
        """Take the image layers of the viewer; the chosen one stays where it exists.

        Args:
            event: of napari; not used.
        """
        images = self.state.images()
        if self.state.image not in images:
            self.state.image = images[-1] if images else None
        names = [layer.name for layer in images]
        fill(self.layer, names, None if self.state.image is None else self.state.image.name)
        self.refresh()

    def refresh(self) -> None:
        """Show axes and voxel size of the chosen layer."""
        fields = (self.channel, self.all_frames, self.leading, *self.spacing)
        try:
            volume = self.state.volume()
        except ValueError as error:
            self.about.setText(str(error))
            for field in fields:
                field.setEnabled(False)
            self.changed.emit()
            return
        assert self.state.image is not None
        named = set("ZYX") <= {str(label).upper() for label in self.state.image.axis_labels}
        with silenced(*fields):
            for field in fields:
                field.setEnabled(True)
            self.channel.setMaximum(volume.count("C") - 1)
            self.channel.setValue(min(self.state.channel, volume.count("C") - 1))
            self._show_spacing(volume)
        self.show_row(self.leading, len(volume.letters) == 4 and not named)
        self.show_row(self.channel, volume.count("C") > 1)
        self.show_row(self.all_frames, volume.count("T") > 1)
        self.changed.emit()

    def _show_spacing(self, volume: LayerVolume) -> None:
        spacing, unit = volume.spacing
        for field, step in zip(self.spacing, spacing or (0.0, 0.0, 0.0), strict=True):
            field.show_length(step if unit else 0.0)
        size = " x ".join(map(str, volume.shape))
        hint = "in micrometres"
        if spacing is None:
            hint = "unknown: enter it, or voxels are taken as cubes"
        elif not unit:
            hint = (
                f"only its ratios are known ({':'.join(f'{s:g}' for s in spacing)}): enter it for sizes in um"
            )
        self.about.setText(f"{volume.letters.lower()}, {size} voxels; voxel size {hint}")

    def _choose(self, name: str) -> None:
        self.state.image = next((layer for layer in self.state.images() if layer.name == name), None)
        self.state.channel = 0
        self.refresh()

    def _set_leading(self, meaning: str) -> None:
        self.state.leading = _MEANINGS[meaning]
        self.refresh()

    def _set_channel(self, channel: int) -> None:
        self.state.channel = channel
        self.changed.emit()

    def _set_all(self, everything: bool) -> None:
        self.state.all_frames = everything
        self.changed.emit()

    def _set_spacing(self) -> None:
        """Set the voxel size of the axes that were edited, once all are known."""
        if all(field.value() > 0 for field in self.spacing) and any(f.edited for f in self.spacing):
            self.state.set_spacing([field.value() if field.edited else None for field in self.spacing])
            self.refresh()


class _Length(QDoubleSpinBox):
    """The size of a voxel along an axis, with up to six significant digits.

    Args:
        axis: its name.
    """

    def __init__(self, axis: str) -> None:
        super().__init__()
        self.setDecimals(_DECIMALS)
        self.setRange(0, 10_000)
        self.setSpecialValueText("?")
        self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.setToolTip(f"Size of a voxel along {axis}, in micrometres.")
        self._shown = self.text()

    def show_length(self, length: float) -> None:
        """Show the size of the layer, which may have more digits.

        Args:
            length: in micrometres; 0 where it is unknown.
        """
        self.setValue(length)
        self._shown = self.text()

    @property
    def edited(self) -> bool:
        """Whether the field shows another size than that of the layer."""
        return self.text() != self._shown

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """The text of a size, without zeros at its end.

        Args:
            value: the size.
        """
        text = str(super().textFromValue(float(f"{value:.{_DIGITS}g}")))
        return text.rstrip("0").rstrip(self.locale().decimalPoint())
