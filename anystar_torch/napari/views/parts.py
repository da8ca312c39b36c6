"""Small parts that several boxes share."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

NARROW = 48
"""Pixels to which widgets may shrink, so that the dock need not be wide."""


class Box(QGroupBox):
    """A titled box with rows.

    Args:
        title: of the box.
    """

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.rows = QFormLayout(self)
        self.rows.setContentsMargins(8, 4, 8, 6)
        self.rows.setVerticalSpacing(4)

    def show_row(self, field: QWidget, shown: bool) -> None:
        """Show or hide a row.

        Args:
            field: the widget of the row.
            shown: whether it is shown.
        """
        field.setVisible(shown)
        label = self.rows.labelForField(field)
        if label is not None:
            label.setVisible(shown)


def button(text: str, tip: str, pressed: Callable[[], Any], checkable: bool = False) -> QPushButton:
    """A push button.

    Args:
        text: on the button.
        tip: what it does, in one sentence.
        pressed: called when it is clicked.
        checkable: whether it stays down.
    """
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.clicked.connect(lambda _=False: pressed())
    return made


def row(*widgets: QWidget) -> QWidget:
    """Widgets side by side.

    Args:
        widgets: from left to right.
    """
    made = QWidget()
    layout = QHBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        widget.setMinimumWidth(NARROW)
        layout.addWidget(widget)
    return made


def note() -> QLabel:
    """A line of text that wraps."""
    made = QLabel()
    made.setWordWrap(True)
    made.setMinimumWidth(40)
    return made


def scrolled(widgets: Sequence[QWidget]) -> QScrollArea:
    """Widgets one below the other, in an area that scrolls.

    Args:
        widgets: from top to bottom.
    """
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(4, 4, 4, 4)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    for kind in (QAbstractSpinBox, QComboBox, QPushButton):
        for child in inside.findChildren(kind):
            # long names do not widen the dock, nor does napari's style
            child.setStyleSheet(f"min-width: {NARROW}px")
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inside)
    return area


@contextmanager
def silenced(*widgets: QWidget) -> Any:
    """Change widgets without their signals.

    Args:
        widgets: the widgets.
    """
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, blocked in zip(widgets, before, strict=True):
            widget.blockSignals(blocked)


def fill(combo: Any, entries: Sequence[str], chosen: str | None) -> None:
    """Set the entries of a combo box without its signals.

    Args:
        combo: the combo box.
        entries: texts.
        chosen: the entry that is selected, where it exists.
    """
    with silenced(combo):
        combo.clear()
        combo.addItems(list(entries))
        if chosen is not None and chosen in entries:
            combo.setCurrentIndex(list(entries).index(chosen))
