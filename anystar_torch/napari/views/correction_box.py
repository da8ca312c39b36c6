"""The box with the tools that correct objects, and the fine-tuning on corrections."""

from functools import partial
from typing import get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox

from anystar_torch.napari.click_tools import Tool
from anystar_torch.napari.views.parts import Box, button, note, row

AROUND, IN_VIEW, WHOLE = "around the corrections", "the part in view", "the whole volume"

_TIPS = {
    "add": "Click on an object that is missing: the network draws it.",
    "delete": "Click on an object that is none.",
    "split": "Click on two places of an object that is two.",
}


class CorrectionBox(Box):
    """Tools for clicks, and the fine-tuning."""

    tool_chosen = Signal(str)
    fine_tune_asked = Signal()
    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__("Correct and learn")
        self.tools = {
            name: button(name, _TIPS[name], partial(self._choose, name), checkable=True)
            for name in get_args(Tool)
        }
        self.region, self.minutes = QComboBox(), QDoubleSpinBox()
        self.region.addItems([AROUND, IN_VIEW, WHOLE])
        self.region.setToolTip("The part in which every object is right now. Only this part is learned from.")
        self.minutes.setRange(0.1, 600)
        self.minutes.setValue(10)
        self.minutes.setSuffix(" min")
        self.fine_tune = button(
            "fine-tune",
            "Train the model on the checked part, in the background, and use it afterwards.",
            self.fine_tune_asked.emit,
        )
        self.cancel = button("cancel", "End the training.", self.cancel_asked.emit)
        self.about, self.training = note(), note()
        self.rows.addRow(row(*self.tools.values()))
        self.rows.addRow(self.about)
        self.rows.addRow("checked", self.region)
        self.rows.addRow("train for", row(self.minutes, self.cancel))
        self.rows.addRow(self.fine_tune)
        self.rows.addRow(self.training)
        self.cancel.setEnabled(False)
        self.setEnabled(False)

    def release(self) -> None:
        """Put the tool away."""
        for tool in self.tools.values():
            tool.setChecked(False)
        self.tool_chosen.emit("")

    def _choose(self, name: str) -> None:
        for other, tool in self.tools.items():
            if other != name:
                tool.setChecked(False)
        chosen = self.tools[name].isChecked()
        self.about.setText(_TIPS[name] if chosen else "")
        self.tool_chosen.emit(name if chosen else "")
