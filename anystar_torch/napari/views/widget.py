"""The dock widget *AnyStar segmentation*."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from anystar_torch.cli.messages import line_of
from anystar_torch.inference.instances import Instances
from anystar_torch.napari.large import labels_layer, segment_large, too_large
from anystar_torch.napari.models import Models
from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.saving import save_result
from anystar_torch.napari.segmentation import Segmentation, Thresholds, segment
from anystar_torch.napari.segmenter import Preview, Target
from anystar_torch.napari.state import State
from anystar_torch.napari.views.corrections import Corrections
from anystar_torch.napari.views.image_box import ImageBox
from anystar_torch.napari.views.jobs import Jobs, Orders, attempt
from anystar_torch.napari.views.model_box import ModelBox, recent_models
from anystar_torch.napari.views.parts import scrolled
from anystar_torch.napari.views.result_box import ResultBox
from anystar_torch.napari.views.run_box import RunBox
from anystar_torch.napari.views.size_box import SizeBox
from anystar_torch.napari.views.thresholds_box import ThresholdsBox
from anystar_torch.system.wording import number_of

_SETTLED = 300  # ms after the last move of a slider, before objects are measured


class SegmentationWidget(QWidget):
    """Segment the volume of an image layer, set thresholds by sight, correct the objects.

    Args:
        napari_viewer: the viewer; napari passes it by this name.
        memory: file of recent models; None for that of the user.
    """

    def __init__(self, napari_viewer: Any, memory: Path | None = None) -> None:
        super().__init__()
        self.state = State(napari_viewer, Models(memory or recent_models()))
        self.jobs, self.live = Jobs(self), Orders(newest=True, parent=self)
        self.image_box, self.model_box = ImageBox(self.state), ModelBox(self.state)
        self.size_box, self.run_box = SizeBox(self.state), RunBox()
        self.thresholds_box, self.result_box = ThresholdsBox(), ResultBox()
        self.corrections = Corrections(self.state, self.model_box.use, self)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED)
        self._settled.timeout.connect(self.measure)
        self._lay_out()
        self._connect_boxes()
        self._connect_viewer()

    def _lay_out(self) -> None:
        boxes = (self.image_box, self.model_box, self.size_box, self.run_box)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled((*boxes, self.thresholds_box, self.result_box, self.corrections.box)))
        self.setMinimumWidth(360)

    def _connect_boxes(self) -> None:
        self.size_box.estimate_asked.connect(self.estimate)
        self.run_box.preview_asked.connect(self.preview)
        self.run_box.run_asked.connect(self.run)
        self.run_box.cancel_asked.connect(self.jobs.cancel)
        self.jobs.busy.connect(self.run_box.set_busy)
        self.jobs.busy.connect(lambda busy: self.size_box.estimate.setEnabled(not busy))
        self.jobs.progressed.connect(self.run_box.show_progress)
        self.jobs.failed.connect(self.run_box.show_line)
        self.jobs.cancelled.connect(lambda: self.run_box.show_line("cancelled; nothing was changed"))
        self.live.failed.connect(self.run_box.show_line)
        self.thresholds_box.changed.connect(self.set_thresholds)
        self.result_box.save_asked.connect(self.save)
        self.result_box.centres_asked.connect(self.add_centres)
        self.result_box.delete_hidden_asked.connect(self.delete_hidden)
        self.corrections.applied.connect(self._after_correction)

    def _connect_viewer(self) -> None:
        viewer = self.state.viewer
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)
        viewer.layers.events.removed.connect(lambda event: self.state.forget_removed())
        viewer.layers.selection.events.active.connect(self._show_active)
        viewer.dims.events.current_step.connect(self._frame_changed)
        viewer.mouse_drag_callbacks.append(self.corrections.on_drag)
        for jobs in (self.jobs, self.corrections.training):
            self.destroyed.connect(lambda *_, jobs=jobs: jobs.cancel())

    def _job(self, work: Any, done: Any) -> None:
        """Start work with the chosen network, or show why it cannot start."""
        try:
            segmenter = self.state.segmenter()
            network = segmenter.model.settings(segmenter.device, progress=False).tile_network.network
        except (ValueError, ImportError) as error:
            self.run_box.show_line(str(error))
            return
        self.jobs.start(work, done, network)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """End all work and clicks when napari takes the widget out of its dock, because the user closed that.

        Args:
            event: of Qt.
        """
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            for jobs in (self.jobs, self.corrections.training):
                jobs.cancel()
            self.corrections.box.release()
            self.state.results.clear()
            self.state.forget()
            self._show_active()

    def estimate(self) -> None:
        """Estimate the size of the objects."""
        try:
            target = self.state.target()
        except ValueError as error:
            self.size_box.about.setText(str(error))
            return
        self._job(lambda _: self.state.segmenter().size(target), self.size_box.show_estimate)

    def preview(self) -> None:
        """Segment the part in view."""
        try:
            target, view = self.state.target(), self.state.view()
            thresholds = self._thresholds(target)
        except (ValueError, ImportError) as error:
            self.run_box.show_line(str(error))
            return
        diameter = self.state.diameter

        def show(found: Preview) -> None:
            self.state.add_preview(found, target.volume, target.channel, target.frame)
            self.run_box.show_line(f"{number_of(len(found.found), 'object')} in the part in view")

        self._job(lambda _: self.state.segmenter().preview(target, diameter, view, thresholds), show)

    def run(self) -> None:
        """Segment the volume, or all time points."""
        try:
            targets = self.state.targets()
        except ValueError as error:
            self.run_box.show_line(str(error))
            return
        diameter, model = self.state.diameter, self.state.model
        segmenter = self.state.segmenter
        if too_large(targets[0].volume, len(targets)):
            self._run_large(targets)
            return
        self._job(lambda progress: segment(segmenter(), targets, diameter, progress, model), self._show)

    def _run_large(self, targets: Sequence[Target]) -> None:
        """Segment a volume or a time series beyond memory into a folder that the user names."""
        path = self.run_box.ask_folder(f"{Path(targets[0].volume.name).stem}.labels.ome.zarr")
        if not path:
            return
        try:
            diameter, thresholds = self.state.diameter, self._thresholds(targets[0])
        except (ValueError, ImportError) as error:
            self.run_box.show_line(str(error))
            return

        def show(written: Path) -> None:
            self.state.viewer.add_layer(labels_layer(written, targets[0]))
            self.run_box.show_line(f"labels in {written}")

        segmenter = self.state.segmenter
        self._job(lambda _: segment_large(segmenter(), targets, Path(path), diameter, thresholds), show)

    def set_thresholds(self, prob_thresh: float, nms_thresh: float) -> None:
        """Show the objects of the present result at other thresholds.

        Args:
            prob_thresh: probability threshold.
            nms_thresh: overlap threshold.
        """
        shown = self.state.active()
        if shown is not None:
            self._change(shown, (prob_thresh, nms_thresh))

    def save(self, path: str) -> None:
        """Write the present result.

        Args:
            path: the file; its ending tells what is written.
        """
        shown = self.state.active()
        if shown is None:
            return
        error = attempt(lambda to: self.result_box.about.setText(save_result(shown, to)), Path(path))
        if error is not None:
            self.result_box.about.setText(line_of(error))

    def add_centres(self) -> None:
        """Add the centres of the objects as points."""
        shown = self.state.active()
        if shown is not None:
            self.state.viewer.add_layer(shown.centres())
            self.state.viewer.layers.selection.active = shown.layer

    def delete_hidden(self) -> None:
        """Delete the objects that the range hides."""
        shown = self.state.active()
        if shown is not None:
            shown.delete(shown.hidden(*self.result_box.range))
            self._after_correction()

    def measure(self) -> None:
        """Measure the objects of the present result."""
        shown = self.state.active()
        if shown is not None:
            shown.update_features()
            self.result_box.show_result(shown)

    def _thresholds(self, target: Target) -> Thresholds:
        """The thresholds of the present result where the chosen model found it in this image, or else of the model."""
        segmenter, shown = self.state.segmenter(), self.state.active()
        if shown is not None and shown.result.fits(segmenter, target):
            return self.thresholds_box.values
        return segmenter.model.config.prob_thresh, segmenter.model.config.nms_thresh

    def _change(self, shown: ResultLayer, thresholds: Thresholds) -> None:
        """Compute a result at other thresholds. Corrected labels stay in a layer of their own."""
        if shown.corrected:
            shown = self.state.fork(shown)
            # the new layer has set the controls to the thresholds of the run before
            self.thresholds_box.show_thresholds(thresholds)
        self._order(shown, thresholds)

    def _order(self, shown: ResultLayer, thresholds: Thresholds) -> None:
        frame, shown.result.thresholds = shown.frame, thresholds
        self.live.order(
            lambda: shown.objects(thresholds, frame), lambda found: self._show_objects(shown, frame, found)
        )

    def _show_objects(self, shown: ResultLayer, frame: int, found: Instances) -> None:
        """Show objects that were computed, unless the labels were corrected meanwhile."""
        corrected = bool(shown.difference(frame))
        if corrected and shown.pending:
            self._change(shown, shown.result.thresholds)
            return
        if not corrected:
            shown.show(frame, found)
        if shown.stale(shown.frame):  # the viewer moved on before the thresholds were known
            self._order(shown, shown.result.thresholds)
        elif shown is self.state.active() and frame == shown.frame and not corrected:
            self.thresholds_box.show_objects(found)
        self._settled.start()

    def _show(self, result: Segmentation) -> None:
        """Show a new segmentation."""
        shown = self.state.add_result(result)
        self.state.remove_preview()
        found = result.objects(shown.frame if shown.frame in result.live else min(result.live))
        if found.estimate is not None:
            self.size_box.about.setText(str(found.estimate))
        self.run_box.show_line(f"{number_of(len(found), 'object')} of {found.diameter:.3g} voxels")
        self._show_active()

    def _show_active(self, event: Any = None) -> None:
        """Let the controls act on the selected result."""
        shown = self.state.active()
        if shown is not None:
            self.state.show_frame(shown)
        self.thresholds_box.show_result(
            None if shown is None else shown.result, 0 if shown is None else shown.frame
        )
        self.result_box.show_result(shown)
        self.corrections.show_result(shown)

    def _frame_changed(self, event: Any = None) -> None:
        shown = self.state.active()
        if shown is None:
            return
        before = shown.frame
        self.state.show_frame(shown)
        if shown.frame == before:
            return
        if shown.stale(shown.frame):
            self._order(shown, shown.result.thresholds)
        else:
            self._show_active()
            self._settled.start()

    def _layers_changed(self, event: Any = None) -> None:
        self.image_box.refresh_layers()
        self._show_active()

    def _after_correction(self) -> None:
        shown = self.state.active()
        if shown is not None:
            self.result_box.show_result(shown)
            self.corrections.show_result(shown)
