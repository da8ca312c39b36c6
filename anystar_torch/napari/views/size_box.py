"""The box that sets the object size: estimated, typed, or drawn; shown as a ball at the cursor."""

from typing import Any

import numpy as np
from napari.layers import Points, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox

from anystar_torch.inference.object_size import ObjectSize
from anystar_torch.napari.drawn_size import drawn_diameter
from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.state import State
from anystar_torch.napari.views.parts import Box, button, note, row, silenced

DRAWING = "AnyStar size"
BALL = "AnyStar ball"
_TOOLS = {"line": "add_line", "ball": "add_ellipse"}


class SizeBox(Box):
    """Sets the diameter of the median object.

    Args:
        state: receives the diameter.
    """

    estimate_asked = Signal()
    changed = Signal()

    def __init__(self, state: State) -> None:
        super().__init__("Object size")
        self.state = state
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0, 10_000)
        self.diameter.setDecimals(1)
        self.diameter.setSpecialValueText("estimated")
        self.diameter.setSuffix(" voxels")
        self.diameter.setToolTip("Diameter of the median object, in voxels of the finest axis.")
        self.estimate = button("estimate", "Measure the objects with the network.", self.estimate_asked.emit)
        self.tool = QComboBox()
        self.tool.addItems(list(_TOOLS))
        self.draw = button("draw", "Draw a line across an object, or a ball around it.", self.start_drawing)
        self.ball = QCheckBox("ball at the cursor")
        self.ball.setToolTip("Show a ball of this diameter where the mouse points.")
        self.about = note()
        self.rows.addRow("diameter", row(self.diameter, self.estimate))
        self.rows.addRow("drawn", row(self.tool, self.draw))
        self.rows.addRow("", self.ball)
        self.rows.addRow(self.about)
        self.diameter.valueChanged.connect(self._typed)
        self.ball.toggled.connect(self._show_ball)

    def show_estimate(self, size: ObjectSize) -> None:
        """Take an estimated size.

        Args:
            size: with its evidence and warnings.
        """
        lines = [] if size.estimate is None else [str(size.estimate)]
        self.set(size.diameter, "; ".join([*lines, *map(str, size.warnings)]))

    def set(self, diameter: float, about: str = "") -> None:
        """Set the diameter.

        Args:
            diameter: in voxels of the finest axis.
            about: where it comes from.
        """
        with silenced(self.diameter):
            self.diameter.setValue(diameter)
        self.state.diameter = diameter if diameter > 0 else None
        physical = self._physical(diameter)
        self.about.setText("; ".join(text for text in (about, physical) if text))
        self._resize_ball()
        self.changed.emit()

    def start_drawing(self) -> None:
        """Add a layer in which the next shape sets the diameter."""
        try:
            volume = self.state.volume()
        except ValueError as error:
            self.about.setText(str(error))
            return
        self.remove_drawing()
        layer = Shapes(
            ndim=len(volume.letters),
            name=DRAWING,
            **volume.transform,
            edge_color="yellow",
            face_color="transparent",
            edge_width=1,
        )
        self.state.viewer.add_layer(layer)
        layer.mode = _TOOLS[self.tool.currentText()]
        layer.events.data.connect(lambda event: self._drawn(layer, volume, event))
        self.about.setText(f"draw a {self.tool.currentText()} on an object")

    def remove_drawing(self) -> None:
        """Remove the layer of the drawing."""
        if DRAWING in self.state.viewer.layers:
            self.state.viewer.layers.remove(DRAWING)

    def _drawn(self, layer: Shapes, volume: LayerVolume, event: Any) -> None:
        """Take the diameter of the latest shape, once it is complete."""
        if not layer.data or str(getattr(event, "action", "")).endswith(("ing", "ING")):
            return
        spatial = [volume.letters.index(letter) for letter in "ZYX"]
        try:
            diameter = drawn_diameter(layer.data[-1], layer.shape_type[-1], volume.steps, spatial)
        except ValueError as error:
            self.about.setText(str(error))
            return
        self.set(diameter, "drawn")

    def _typed(self, diameter: float) -> None:
        self.set(diameter, "given" if diameter else "")

    def _physical(self, diameter: float) -> str:
        try:
            spacing, unit = self.state.volume().spacing
        except ValueError:
            return ""
        return f"{diameter * min(spacing):.3g} um" if spacing and unit and diameter else ""

    def _show_ball(self, shown: bool) -> None:
        viewer = self.state.viewer
        if not shown:
            if self._follow in viewer.mouse_move_callbacks:
                viewer.mouse_move_callbacks.remove(self._follow)
            if BALL in viewer.layers:
                viewer.layers.remove(BALL)
            return
        try:
            volume = self.state.volume()
        except ValueError as error:
            self.about.setText(str(error))
            self.ball.setChecked(False)
            return
        active = viewer.layers.selection.active
        viewer.add_layer(self._ball_layer(volume))
        viewer.layers.selection.active = active
        viewer.mouse_move_callbacks.append(self._follow)

    def _ball_layer(self, volume: LayerVolume) -> Points:
        """One point with the size of an object. Its steps are those of the finest axis, so that it is round."""
        steps = dict(zip(volume.letters, volume.steps, strict=True))
        finest = min(steps[letter] for letter in "ZYX")
        scale = [finest if letter in "ZYX" else steps[letter] for letter in volume.letters]
        centre = np.array(self.state.viewer.dims.point[-len(scale) :]) / scale
        return Points(
            centre[None],
            name=BALL,
            size=self.state.diameter or 1.0,
            scale=scale,
            units=volume.units,
            face_color="transparent",
            border_color="yellow",
            border_width=0.05,
            opacity=0.8,
        )

    def _follow(self, viewer: Any, event: Any) -> None:
        """Move the ball to the mouse."""
        if BALL in viewer.layers:
            layer = viewer.layers[BALL]
            layer.data = (np.array(event.position[-layer.ndim :]) / layer.scale)[None]

    def _resize_ball(self) -> None:
        viewer = self.state.viewer
        if BALL in viewer.layers:
            viewer.layers[BALL].size = self.state.diameter or 1.0
