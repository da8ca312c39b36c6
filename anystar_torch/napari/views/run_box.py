"""The box that starts preview and run, and shows their progress."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QProgressBar

from anystar_torch.napari.views.parts import Box, button, note, row


class RunBox(Box):
    """Starts the work and shows its progress."""

    preview_asked = Signal()
    run_asked = Signal()
    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__("Segment")
        self.preview = button(
            "preview", "Segment the part in view, in a few seconds.", self.preview_asked.emit
        )
        self.run = button("run", "Segment the whole volume.", self.run_asked.emit)
        self.cancel = button("cancel", "End the work; nothing of it stays.", self.cancel_asked.emit)
        self.bar, self.about = QProgressBar(), note()
        self.bar.setFormat("%p %")
        self.rows.addRow(row(self.preview, self.run, self.cancel))
        self.rows.addRow(self.bar)
        self.rows.addRow(self.about)
        self.set_busy(False)

    def set_busy(self, busy: bool) -> None:
        """Show whether work is going on.

        Args:
            busy: whether it is.
        """
        self.preview.setEnabled(not busy)
        self.run.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        if busy:
            self.about.setText("")
            self.bar.setRange(0, 0)

    def ask_folder(self, default: str) -> str:
        """The folder for labels of a volume beyond memory; empty where the dialog was closed.

        Args:
            default: name that the dialog proposes.
        """
        title = "The volume does not fit into memory: folder for its labels"
        return str(QFileDialog.getSaveFileName(self, title, default, "OME-Zarr (*.zarr)")[0])

    def show_progress(self, title: str, done: int, total: int) -> None:
        """Show how far the work is.

        Args:
            title: what is being done.
            done: number of parts that are done.
            total: number of all parts; 0 while it is unknown.
        """
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.about.setText(f"{title} ({done})" if done and not total else title)

    def show_line(self, text: str) -> None:
        """Show a result or an error.

        Args:
            text: one line.
        """
        self.about.setText(text)
