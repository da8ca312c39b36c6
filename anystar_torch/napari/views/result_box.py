"""The box that colours, filters and saves the present result."""

from pathlib import Path

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFileDialog

from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.saving import ENDINGS, default_name
from anystar_torch.napari.views.parts import Box, button, fill, note, row, silenced
from anystar_torch.system.wording import number_of

_PLAIN = "labels"
_MARGIN = 0.01  # of the range, because its ends are shown with two decimals
_FEATURES = ("score", "volume", "diameter", "z", "y", "x", "touches_border")


class ResultBox(Box):
    """Colours, filters and saves a result."""

    save_asked = Signal(str)
    centres_asked = Signal()
    delete_hidden_asked = Signal()

    def __init__(self) -> None:
        super().__init__("Result")
        self.shown: ResultLayer | None = None
        self.colour, self.feature = QComboBox(), QComboBox()
        self.low, self.high = QDoubleSpinBox(), QDoubleSpinBox()
        for field in (self.low, self.high):
            field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.remove = button("delete hidden", "Delete the hidden objects.", self.delete_hidden_asked.emit)
        self.centres = button("centres", "Add the centres as points with a table.", self.centres_asked.emit)
        self.save = button("save...", "Write labels, a table, candidates or meshes.", self._ask)
        self.about = note()
        fill(self.colour, [_PLAIN, *_FEATURES], _PLAIN)
        fill(self.feature, _FEATURES, "score")
        self.rows.addRow("colour by", self.colour)
        self.rows.addRow("show", row(self.feature, self.low, self.high))
        self.rows.addRow(row(self.remove, self.centres, self.save))
        self.rows.addRow(self.about)
        self.colour.currentTextChanged.connect(lambda *_: self.apply())
        self.feature.currentTextChanged.connect(lambda *_: self._new_range())
        self.low.valueChanged.connect(lambda *_: self.apply())
        self.high.valueChanged.connect(lambda *_: self.apply())
        self.setEnabled(False)

    @property
    def range(self) -> tuple[float, float, str]:
        """Smallest and largest value that is shown, and the feature."""
        return self.low.value(), self.high.value(), self.feature.currentText()

    def show_result(self, shown: ResultLayer | None) -> None:
        """Act on another result, or on its new objects.

        Args:
            shown: the result; None where there is none.
        """
        self.shown = shown
        self.setEnabled(shown is not None)
        self._new_range()

    def apply(self) -> None:
        """Colour the objects, and hide those out of the range."""
        if self.shown is None:
            return
        low, high, by = self.range
        chosen = self.colour.currentText()
        hidden = self.shown.hidden(low, high, by)
        self.shown.colour(None if chosen == _PLAIN else chosen, low, high, by)
        self.remove.setEnabled(bool(hidden))
        self.about.setText(f"{number_of(len(hidden), 'object')} hidden" if hidden else "")

    def ask_path(self, default: Path) -> str:
        """The file that the user names; empty where the dialog was closed.

        Args:
            default: name that the dialog proposes.
        """
        return str(QFileDialog.getSaveFileName(self, "Save the result", str(default), ENDINGS)[0])

    def _new_range(self) -> None:
        """Let the range be that of all objects."""
        if self.shown is None:
            return
        values = self.shown.columns[self.feature.currentText()].astype(np.float64)
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        with silenced(self.low, self.high):
            for field in (self.low, self.high):
                field.setRange(low - _MARGIN, high + _MARGIN)
                field.setSingleStep(max((high - low) / 50, _MARGIN))
            self.low.setValue(low - _MARGIN)
            self.high.setValue(high + _MARGIN)
        self.apply()

    def _ask(self) -> None:
        if self.shown is None:
            return
        path = self.ask_path(default_name(self.shown))
        if path:
            self.save_asked.emit(path)
