"""The box that chooses the network and its device."""

from pathlib import Path

from qtpy.QtCore import QStandardPaths, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog

from anystar_torch.napari.models import SHIPPED
from anystar_torch.napari.state import State
from anystar_torch.napari.views.parts import Box, fill, note

_FOLDER = "folder..."
_DEVICES = ("auto", "cpu", "cuda", "mps")


class ModelBox(Box):
    """Chooses the network.

    Args:
        state: receives the choices.
    """

    changed = Signal()

    def __init__(self, state: State) -> None:
        super().__init__("Model")
        self.state = state
        self.model, self.device, self.problem = QComboBox(), QComboBox(), note()
        self.device.addItems(_DEVICES)
        self.rows.addRow("model", self.model)
        self.rows.addRow("device", self.device)
        self.rows.addRow(self.problem)
        self.refresh()
        self.model.activated.connect(self._choose)
        self.device.currentTextChanged.connect(self._set_device)

    def refresh(self) -> None:
        """Show the shipped model, those that were used last, and the entry for another folder."""
        names = [SHIPPED, *self.state.models.recent]
        if self.state.model not in names:
            names.append(self.state.model)
        fill(self.model, [*names, _FOLDER], self.state.model)
        self.model.setToolTip(self.state.model)

    def use(self, name: str) -> None:
        """Choose a model.

        Args:
            name: "shipped", or a folder.
        """
        before, self.state.model = self.state.model, name
        try:
            self.state.segmenter()
            self.problem.setText("")
        except (ValueError, ImportError) as error:
            self.state.model = before
            self.problem.setText(str(error))
        self.refresh()
        self.changed.emit()

    def ask_folder(self) -> str:
        """The folder that the user chooses; empty where the dialog was closed."""
        return str(QFileDialog.getExistingDirectory(self, "Folder of a model or of a training"))

    def _choose(self, index: int) -> None:
        name = self.model.itemText(index)
        if name != _FOLDER:
            self.use(name)
            return
        folder = self.ask_folder()
        if folder:
            self.use(str(Path(folder)))
        else:
            self.refresh()

    def _set_device(self, device: str) -> None:
        self.state.device = device
        self.changed.emit()


def recent_models() -> Path:
    """The file of recent models of this user."""
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(folder) / "anystar_torch" / "models.json"
