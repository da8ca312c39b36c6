"""Presses buttons of the widget as a person would, and waits for what they start."""

import numpy as np
from qtpy.QtCore import Qt

COUNT = 6  # balls of the scene
WAIT = 60_000  # ms


def press(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def finished(qtbot, widget):
    qtbot.waitUntil(lambda: not widget.jobs.running, timeout=WAIT)


def settled(qtbot, widget):
    quiet = lambda: not (widget.live.running or widget.corrections.clicks.running)  # noqa: E731
    qtbot.waitUntil(quiet, timeout=WAIT)


def objects(widget):
    return len(np.unique(widget.state.active().volume())) - 1
