"""The box with the live thresholds: two sliders, the number of objects, a histogram of scores."""

from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QSlider

from anystar_torch.inference.instances import Instances
from anystar_torch.napari.segmentation import Segmentation
from anystar_torch.napari.views.histogram import Histogram
from anystar_torch.napari.views.parts import Box, note, row, silenced
from anystar_torch.system.wording import number_of

_STEPS = 100  # of a slider from 0 to 1
_DECIMALS = 3  # of a number


class ThresholdsBox(Box):
    """Sets ``prob_thresh`` and ``nms_thresh`` of the present result."""

    changed = Signal(float, float)

    def __init__(self) -> None:
        super().__init__("Thresholds")
        self.prob, self.nms = Threshold(), Threshold()
        self.prob.slider.setToolTip("Objects with a lower score are left out.")
        self.nms.slider.setToolTip("Of two objects that overlap by more than this, the better one stays.")
        self.histogram, self.count = Histogram(), note()
        self.rows.addRow("prob_thresh", self.prob.row)
        self.rows.addRow("nms_thresh", self.nms.row)
        self.rows.addRow(self.histogram)
        self.rows.addRow(self.count)
        for one in (self.prob, self.nms):
            one.spin.valueChanged.connect(self._moved)
        self.setEnabled(False)

    @property
    def values(self) -> tuple[float, float]:
        """The present thresholds."""
        return self.prob.value, self.nms.value

    def show_result(self, result: Segmentation | None, frame: int = 0) -> None:
        """Show thresholds and scores of a result.

        Args:
            result: the result; None where there is none.
            frame: index of the time point.
        """
        self.setEnabled(result is not None)
        if result is None or frame not in result.live:
            self.count.setText("")
            return
        lowest = result.live[frame].candidates.prob_thresh
        self.prob.set(result.thresholds[0], lowest)
        self.nms.set(result.thresholds[1], 0.0)
        self.histogram.show_threshold(result.thresholds[0])
        self.show_objects(result.objects(frame), result.live[frame].candidates.scores)

    def show_thresholds(self, thresholds: tuple[float, float]) -> None:
        """Show thresholds without a signal; the smallest that can be chosen stay.

        Args:
            thresholds: ``prob_thresh`` and ``nms_thresh``.
        """
        self.prob.set(thresholds[0], self.prob.spin.minimum())
        self.nms.set(thresholds[1], self.nms.spin.minimum())
        self.histogram.show_threshold(thresholds[0])

    def show_objects(self, found: Instances, scores: np.ndarray | None = None) -> None:
        """Show the number of objects.

        Args:
            found: the objects.
            scores: of all candidates, for the histogram; None to leave it.
        """
        warnings = "; ".join(str(warning) for warning in found.warnings)
        self.count.setText(number_of(len(found), "object") + (f"; {warnings}" if warnings else ""))
        if scores is not None:
            self.histogram.show_scores(scores)

    def _moved(self, _: Any) -> None:
        self.histogram.show_threshold(self.values[0])
        self.changed.emit(*self.values)


class Threshold:
    """A slider and a number that show the same value. It may have more digits than the number shows."""

    def __init__(self) -> None:
        self.slider, self.spin = QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        self.slider.setRange(0, _STEPS)
        self.spin.setRange(0, 0.99)
        self.spin.setSingleStep(0.01)
        self.spin.setDecimals(_DECIMALS)
        self._set = self._shown = self.spin.value()
        self.row = row(self.slider, self.spin)
        self.slider.valueChanged.connect(lambda value: self.spin.setValue(value / _STEPS))
        self.spin.valueChanged.connect(self._follow)

    @property
    def value(self) -> float:
        """The threshold: the one that was set, until the user chooses another."""
        value = self.spin.value()
        return self._set if value == self._shown else round(value, _DECIMALS)

    def set(self, value: float, lowest: float) -> None:
        """Show a value without a signal.

        Args:
            value: the threshold.
            lowest: the smallest one that can be chosen.
        """
        with silenced(self.slider, self.spin):
            self.spin.setMinimum(_rounded_up(lowest))
            self.slider.setMinimum(int(np.ceil(lowest * _STEPS)))
            self.spin.setValue(value)
            self.slider.setValue(round(value * _STEPS))
        self._set, self._shown = value, self.spin.value()

    def _follow(self, value: float) -> None:
        with silenced(self.slider):
            self.slider.setValue(round(value * _STEPS))


def _rounded_up(value: float) -> float:
    """The next value that a number shows exactly."""
    rounded = round(value, _DECIMALS)
    return rounded if rounded >= value else round(rounded + 10**-_DECIMALS, _DECIMALS)
