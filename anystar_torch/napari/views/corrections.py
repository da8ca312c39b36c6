"""Clicks that correct objects, and the fine-tuning on them: the box, its tools, and its work in the background."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from qtpy.QtCore import QObject, Signal

from anystar_torch.cli.messages import line_of
from anystar_torch.napari.click_tools import ClickTools, Tool
from anystar_torch.napari.corrections import Change
from anystar_torch.napari.finetuning import Corrected, command, fine_tune
from anystar_torch.napari.layer_volume import Box
from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.segmenter import grown
from anystar_torch.napari.state import State
from anystar_torch.napari.views.correction_box import AROUND, IN_VIEW, CorrectionBox
from anystar_torch.napari.views.jobs import Jobs, Orders
from anystar_torch.system.wording import number_of


class Corrections(QObject):
    """Corrections of the present result.

    Args:
        state: knows the present result.
        use_model: takes the folder of a fine-tuned model.
        parent: of Qt.
    """

    applied = Signal()

    def __init__(self, state: State, use_model: Callable[[str], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state, self.use_model = state, use_model
        self.box, self.tools = CorrectionBox(), ClickTools()
        self.clicks, self.training = Orders(newest=False, parent=self), Jobs(self)
        self.runs = Path.home() / "anystar_torch" / "fine-tuned"
        self.options: tuple[str, ...] = ()  # more overrides of the training
        self.box.tool_chosen.connect(lambda name: self.tools.choose(cast(Tool, name) if name else None))
        self.box.fine_tune_asked.connect(self.fine_tune)
        self.box.cancel_asked.connect(self.training.cancel)
        self.clicks.failed.connect(self.box.about.setText)
        self.training.busy.connect(self._set_busy)
        self.training.progressed.connect(self._show_progress)
        self.training.failed.connect(self.box.training.setText)
        self.training.cancelled.connect(lambda: self.box.training.setText("the training was ended"))

    def show_result(self, shown: ResultLayer | None) -> None:
        """Act on another result.

        Args:
            shown: the result; None where there is none.
        """
        self.box.setEnabled(shown is not None)

    def on_drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Take a click: a press without a move before the release. napari calls this.

        Args:
            viewer: napari's viewer.
            event: of the mouse.
        """
        if self.tools.tool is None or len(event.dims_displayed) != 2:
            return
        moved = False
        yield
        while event.type == "mouse_move":
            moved = True
            yield
        if not moved:
            self.click(tuple(event.position))

    def click(self, position: tuple[float, ...]) -> None:
        """Correct the present result at a position.

        Args:
            position: world coordinates.
        """
        shown = self.state.active()
        if shown is None:
            return
        try:
            work = self.tools.click(shown, position)
        except ValueError as error:
            self.box.about.setText(str(error))
            return
        if work is None:
            self.box.about.setText("now click on the other part")
            return
        frame = shown.frame  # of the click: the work ends later
        self.clicks.order(work, lambda change: self._apply(shown, frame, change))

    def fine_tune(self) -> None:
        """Start the training on the checked part of the present result."""
        shown = self.state.active()
        if shown is None:
            return
        try:
            corrected = self.checked(shown)
        except Exception as error:  # a lazy layer whose file is gone raises what its reader raises
            self.box.training.setText(line_of(error))
            return
        folder = self.runs / time.strftime("%Y-%m-%d_%H-%M-%S")
        model, minutes, options = self.state.model, self.box.minutes.value(), self.options

        def work(progress: Any) -> Path:
            words = command(corrected.write(folder / "annotated"), folder, model, minutes, options)
            return fine_tune(words, folder, progress)

        self.training.start(work, self._use)

    def checked(self, shown: ResultLayer) -> Corrected:
        """The part of a result in which every object is right.

        Args:
            shown: the result.

        Raises:
            ValueError: nothing was corrected.
        """
        result, frame = shown.result, shown.frame
        spacing = result.place.source.spacing[0]
        difference = shown.difference()
        if not difference:
            raise ValueError("correct some objects first: this result is what the model finds already")
        region = self.box.region.currentText()
        part: Box | None = None
        if region == AROUND and difference.box is not None:
            diameter = result.live[frame].candidates.diameter
            part = grown(difference.box, result.place.shape, spacing or (1.0, 1.0, 1.0), diameter)
        elif region == IN_VIEW:
            part = self.state.view(shown)
        image = np.asarray(result.segmenter.opened(result.targets[frame]).voxels)
        return Corrected(image, np.array(shown.volume()), part, spacing)

    def _apply(self, shown: ResultLayer, frame: int, change: Change) -> None:
        shown.apply(change, frame)
        self.box.about.setText(str(shown.difference(frame)))
        self.applied.emit()

    def _use(self, folder: Path) -> None:
        self.use_model(str(folder))
        self.box.training.setText(f"the model in {folder} is chosen now: run it")

    def _set_busy(self, busy: bool) -> None:
        self.box.fine_tune.setEnabled(not busy)
        self.box.cancel.setEnabled(busy)

    def _show_progress(self, title: str, done: int, total: int) -> None:
        self.box.training.setText(f"{title}: {number_of(done, 'step')}" if done else title)
