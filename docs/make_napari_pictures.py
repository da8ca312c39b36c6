"""The pictures of docs/napari.md: the plugin in a real viewer, on a real volume.

    xvfb-run -a -s "-screen 0 1600x1000x24" python -m docs.make_napari_pictures IMAGE --spacing Z Y X [--out FOLDER]

opens a volume, estimates the size of its objects, runs, moves a slider, colours by volume, deletes an object and adds
it again. Every step is checked, and four of them are written as pictures. Without a display, xvfb-run gives one.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from anystar_torch.napari.reader import reader
from anystar_torch.napari.views.widget import SegmentationWidget

FOLDER = Path(__file__).resolve().parent / "pictures" / "napari"
_PATIENCE = 600.0  # seconds for one step
_SIZE = 1400, 900
_COLOURS = 256  # of a picture, and its size in pixels, so that its file is small
_DRAWN = 1120, 720


class Story:
    """A viewer with the plugin, and the steps of a user.

    Args:
        image: file of the volume.
        spacing: voxel size (z, y, x) in micrometres; None for that of the file.
        out: folder of the pictures.
    """

    def __init__(self, image: Path, spacing: tuple[float, float, float] | None, out: Path) -> None:
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(title="napari")
        self.viewer.window.resize(*_SIZE)
        opened = reader(str(image))
        if opened is None:
            raise SystemExit(f"{image} is in an unknown format")
        ((data, attributes, _),) = opened(str(image))
        self.viewer.add_image(data, gamma=0.6, **attributes)
        self.widget = SegmentationWidget(self.viewer, memory=out / "models.json")
        self.viewer.window.add_dock_widget(self.widget, name="AnyStar segmentation", area="right")
        if spacing is not None:
            self.widget.state.set_spacing(spacing)
            self.widget.image_box.refresh()
        self.viewer.reset_view()

    def wait(self, done: Callable[[], bool], least: float = 0.5) -> None:
        """Let the viewer work until a condition holds, and draw."""
        start = time.monotonic()
        while time.monotonic() - start < least or not done():
            QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() - start > _PATIENCE:
                raise SystemExit(f"a step took too long: {self.widget.run_box.about.text()}")

    def press(self, button: QPushButton) -> None:
        """Click on a button and wait for the work."""
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.wait(lambda: not self.widget.jobs.running)

    def picture(self, name: str, top: int = 0) -> None:
        """Write a picture of the whole viewer, with the widget scrolled to a place."""
        area = self.widget.layout().itemAt(0).widget()
        area.verticalScrollBar().setValue(top)
        self.wait(lambda: True)
        drawn = Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        drawn = drawn.resize(_DRAWN, Image.Resampling.LANCZOS)
        drawn.quantize(_COLOURS, dither=Image.Dither.NONE).save(self.out / f"{name}.png", optimize=True)

    def objects(self) -> int:
        """Number of objects of the present result."""
        shown = self.widget.state.active()
        return 0 if shown is None else len(np.unique(shown.volume())) - 1

    def click(self, position: tuple[float, ...]) -> None:
        """Correct at a position, and wait for the result."""
        self.widget.corrections.click(position)
        self.wait(lambda: not self.widget.corrections.clicks.running)

    def tell(self) -> None:
        """All steps."""
        widget, viewer = self.widget, self.viewer
        self.press(widget.size_box.estimate)
        self.press(widget.run_box.preview)
        widget.size_box.ball.setChecked(True)
        self.picture("preview")
        widget.size_box.ball.setChecked(False)
        self.press(widget.run_box.run)
        found = self.objects()
        assert found > 0, widget.run_box.about.text()
        self.picture("run", 200)
        start = time.perf_counter()
        widget.thresholds_box.prob.slider.setValue(widget.thresholds_box.prob.slider.minimum() + 5)
        self.wait(lambda: not widget.live.running, least=0)
        print(f"slider: {time.perf_counter() - start:.2f} s, {found} -> {self.objects()} objects")
        assert self.objects() >= found
        widget.thresholds_box.prob.spin.setValue(0.6)
        self.wait(lambda: not widget.live.running, least=1)
        widget.result_box.colour.setCurrentText("volume")
        viewer.dims.ndisplay = 3
        getattr(viewer, "scene", viewer).camera.angles = (10, 30, 150)
        self.picture("volume", 10_000)
        viewer.dims.ndisplay = 2
        widget.result_box.colour.setCurrentText("labels")
        self.correct()

    def correct(self) -> None:
        """Delete an object, and let the network add it again."""
        widget, shown = self.widget, self.widget.state.active()
        assert shown is not None
        before = self.objects()
        inside = np.flatnonzero(~shown.columns["touches_border"])
        row = int(inside[0]) if len(inside) else 0
        voxel = [float(shown.columns[axis][row]) for axis in "zyx"]
        place = tuple(float(p) for p in shown.layer.data_to_world(voxel))
        self.viewer.dims.set_point(0, place[0])
        for tool, expected in (("delete", before - 1), ("add", before)):
            widget.corrections.box.tools[tool].setChecked(True)
            widget.corrections.tools.choose(tool)  # type: ignore[arg-type]
            self.click(place)
            assert self.objects() == expected, widget.corrections.box.about.text()
            widget.corrections.box.tools[tool].setChecked(tool == "add")
        self.picture("corrected", 10_000)
        print(widget.corrections.box.about.text())


def main() -> None:
    """Read the arguments and tell the story."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    story = Story(arguments.image, arguments.spacing and tuple(arguments.spacing), arguments.out)
    story.tell()
    story.viewer.close()
    (arguments.out / "models.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
