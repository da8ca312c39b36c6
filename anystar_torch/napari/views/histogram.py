"""A histogram of the scores of candidates and objects, with the threshold as a line."""

import numpy as np
from jaxtyping import Float32
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

BINS = 50


class Histogram(QWidget):
    """Bars from score 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(60)
        self.setToolTip("Scores of the objects without a threshold; the line is prob_thresh.")
        self.counts = np.zeros(BINS, int)
        self.threshold = 0.0

    def show_scores(self, scores: Float32[np.ndarray, " n"]) -> None:
        """Draw other scores.

        Args:
            scores: in [0, 1].
        """
        self.counts = np.histogram(scores, BINS, (0, 1))[0]
        self.update()

    def show_threshold(self, threshold: float) -> None:
        """Move the line.

        Args:
            threshold: in [0, 1].
        """
        self.threshold = threshold
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw bars and line.

        Args:
            event: of Qt; not used.
        """
        painter = QPainter(self)
        width, height = self.width() / BINS, self.height() - 2
        most = max(int(self.counts.max()), 1)
        for number, count in enumerate(self.counts.tolist()):
            above = (number + 0.5) / BINS > self.threshold
            high = height * count / most
            painter.fillRect(
                QRectF(number * width, height - high, max(width - 1, 1), high),
                QColor("#4a90d9" if above else "#6b6f78"),
            )
        painter.setPen(QPen(QColor("#f5c211"), 2))
        place = int(self.threshold * self.width())
        painter.drawLine(place, 0, place, self.height())
        painter.setPen(QPen(Qt.GlobalColor.gray, 1))
        painter.drawLine(0, self.height() - 1, self.width(), self.height() - 1)
        painter.end()
