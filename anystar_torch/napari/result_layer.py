"""A labels layer that shows a segmentation: its labels, features, colours and corrections."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels, Points
from napari.utils.colormaps import label_colormap

from anystar_torch.inference.instances import Instances
from anystar_torch.napari.colours import coloured, within
from anystar_torch.napari.corrections import Change, Difference, kept_labels
from anystar_torch.napari.features import Columns, measure
from anystar_torch.napari.segmentation import Segmentation, Thresholds

RECORD = "anystar_torch"
"""Key of the run record in the metadata of the layer."""


class ResultLayer:
    """A labels layer with the segmentation that it shows.

    Args:
        result: the segmentation; its objects are computed already.
        name: name of the layer.
    """

    def __init__(self, result: Segmentation, name: str) -> None:
        place, source = result.place, result.place.source
        data = place.empty()
        for frame in result.live:
            place.volume(data, frame)[...] = result.objects(frame).labels
        self.result = result
        self.layer = Labels(
            data,
            name=name,
            **place.transform,
            axis_labels=list(source.letters.lower()),
            metadata={RECORD: result.finished_record().to_json()},
        )
        self.frame = min(result.live)
        self.columns: Columns = {}
        self._shown_at = dict.fromkeys(result.live, result.thresholds)
        self._originals = {frame: result.objects(frame).labels for frame in result.live}
        self.update_features()

    def volume(self, frame: int | None = None) -> Any:
        """The labels of a time point as a view, (z, y, x).

        Args:
            frame: index of the time point; None for the present one.
        """
        return self.result.place.volume(self.layer.data, self.frame if frame is None else frame)

    def difference(self, frame: int | None = None) -> Difference:
        """What was corrected in a time point.

        Args:
            frame: its index; None for the present one.
        """
        frame = self.frame if frame is None else frame
        return Difference.between(self._originals[frame], self.volume(frame))

    @property
    def corrected(self) -> bool:
        """Whether any label was corrected."""
        return any(not np.array_equal(own, self.volume(frame)) for frame, own in self._originals.items())

    def count(self, frame: int) -> int:
        """Number of objects that the run found in a time point, at the thresholds that it shows.

        Args:
            frame: index of the time point.
        """
        return int(self._originals[frame].max(initial=0))

    def needs(self, frame: int) -> bool:
        """Whether a time point shows other thresholds than the present ones.

        Args:
            frame: index of the time point.
        """
        return frame in self._shown_at and self._shown_at[frame] != self.result.thresholds

    def show(self, frame: int, found: Instances) -> None:
        """Show objects that were computed for the present thresholds. The present time point stays as it is.

        Args:
            frame: index of the time point.
            found: its objects.
        """
        self._shown_at[frame] = (found.prob_thresh, found.nms_thresh)
        self._originals[frame] = found.labels
        self.result.keep(frame, found)
        self.volume(frame)[...] = found.labels
        self.layer._reset_history()  # to undo what was done to other labels would damage these
        self.layer.refresh()

    def objects(self, thresholds: Thresholds, frame: int) -> Instances:
        """Compute the objects of a time point at other thresholds. This may run in the background.

        Args:
            thresholds: ``prob_thresh`` and ``nms_thresh``.
            frame: index of the time point.
        """
        return self.result.live[frame].at(*thresholds)

    def scores(self, frame: int) -> dict[int, float]:
        """Scores by label; none where the labels are those of other thresholds, and none of objects that are gone.

        Args:
            frame: index of the time point.
        """
        if self.needs(frame):
            return {}
        kept = kept_labels(self._originals[frame], self.volume(frame))
        scores = self.result.objects(frame).scores.tolist()
        return {label: score for label, score in enumerate(scores, 1) if label in kept}

    @property
    def pending(self) -> bool:
        """Whether no time point shows the present thresholds yet: their objects are still being computed."""
        return self.result.thresholds not in self._shown_at.values()

    def withdraw(self) -> None:
        """Set the thresholds back to those that the present time point shows."""
        self.result.thresholds = self._shown_at[self.frame]
        self.update_features()

    def stale(self, frame: int) -> bool:
        """Whether a time point shows other thresholds, and no corrections that a new rendering would remove.

        Args:
            frame: the time point.
        """
        return self.needs(frame) and not self.difference(frame)

    def update_features(self) -> None:
        """Measure the objects of the present time point, and store the run record."""
        spacing, unit = self.result.place.source.spacing
        self.columns = measure(self.volume(), self.scores(self.frame), spacing, unit)
        background: dict[str, Any] = dict.fromkeys(self.columns, np.nan)
        background |= {"index": 0, "touches_border": False}
        rows = {name: [background[name], *values.tolist()] for name, values in self.columns.items()}
        self.layer.features = pd.DataFrame(rows)
        self._store_record()

    def _store_record(self) -> None:
        """Store the run record, as far as it is known: other time points may still show other thresholds."""
        if not any(self.needs(frame) for frame in self.result.live):
            record = self.result.finished_record(self.notes())
        else:
            prob, nms = self.result.thresholds
            record = replace(self.result.record, prob_thresh=prob, nms_thresh=nms)
        self.layer.metadata[RECORD] = record.to_json()

    def notes(self) -> tuple[str, ...]:
        """Remarks on corrections, for the run record."""
        several = len(self.result.live) > 1
        differences = {frame: self.difference(frame) for frame in sorted(self.result.live)}
        return tuple(
            f"frame {frame}: {one}" if several else str(one) for frame, one in differences.items() if one
        )

    def apply(self, change: Change, frame: int | None = None) -> None:
        """Correct the labels of a time point. napari can undo it.

        Args:
            change: the correction.
            frame: index of the time point; None for the present one.
        """
        frame = self.frame if frame is None else frame
        letters = self.result.place.source.letters
        axes = dict(zip("ZYX", change.place, strict=True))
        first = self.result.place.frame
        axes |= {"T": np.full_like(change.place[0], frame - first), "C": np.zeros_like(change.place[0])}
        self.layer.data_setitem(tuple(axes[letter] for letter in letters), change.label)
        self.update_features()

    def delete(self, labels: list[int]) -> None:
        """Delete objects of the present time point. napari can undo it in one step.

        Args:
            labels: the objects.
        """
        z, y, x = np.nonzero(np.isin(self.volume(), labels))
        if len(z):
            self.apply(Change((z, y, x), 0))

    def colour(
        self, feature: str | None, low: float = -np.inf, high: float = np.inf, by: str = "score"
    ) -> None:
        """Colour objects by a feature, and hide those out of a range.

        Args:
            feature: name of the column that gives the colours; None for napari's own.
            low: smallest value of ``by`` that is shown.
            high: largest value that is shown.
            by: name of the column of the range.
        """
        shown = within(self.columns, by, low, high)
        if feature is None and shown.all():
            self.layer.colormap = label_colormap()
            return
        self.layer.colormap = coloured(self.columns, feature, shown, _plain())

    def hidden(self, low: float, high: float, by: str) -> list[int]:
        """Labels whose feature is out of a range.

        Args:
            low: smallest value that is shown.
            high: largest value that is shown.
            by: name of the column.
        """
        ids: list[int] = self.columns["index"][~within(self.columns, by, low, high)].tolist()
        return ids

    def centres(self) -> Points:
        """The centres of the objects of the present time point as points, with their features."""
        source, place = self.result.place.source, self.result.place
        axes = {axis.upper(): self.columns[axis] for axis in "zyx"}
        count = len(self.columns["index"])
        axes |= {"T": np.full(count, float(self.frame - place.frame)), "C": np.zeros(count)}
        return Points(
            np.stack([axes[letter] for letter in source.letters], 1),
            name=f"{self.layer.name} centres",
            **place.transform,
            axis_labels=self.layer.axis_labels,
            features=pd.DataFrame({name: self.columns[name] for name in self.columns if name not in "zyx"}),
            size=3,
        )


def _plain() -> Callable[[int], Any]:
    """The colours that napari gives to labels."""
    colours = label_colormap()
    return lambda label: np.asarray(colours.map(label), float).reshape(-1)[:4]
