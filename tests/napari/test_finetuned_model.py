"""From the button *Fine-tune* to the model that it makes: a real network, a real volume and a real, short training."""

import json

import numpy as np
import pytest
import tifffile

pytest.importorskip("pytestqt", reason="the plugin needs the extra napari")
pytest.importorskip("napari", reason="the plugin needs the extra napari")

from anystar_torch import io
from anystar_torch.cli import main
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.napari.views.correction_box import WHOLE
from tests.napari.pressing import WAIT, finished, press

STEPS = 4
SHORT = (  # a training of few steps, which is the same in all else
    "minutes=null",
    f"trainer.max_steps={STEPS}",
    "trainer.accelerator=cpu",
    "data.validation_samples=1",
    "callbacks.scores.samples=1",
    "callbacks.scores.pictures=1",
    "callbacks.samples.samples=0",
    "report.samples=1",
    "shape=[32,32,32]",
)


@pytest.fixture(scope="module")
def crop():
    """A part of the real volume of the stardist package, and the diameter of its objects."""
    pytest.importorskip("stardist", reason="the real volume comes with the stardist package")
    from anystar_torch.training.report import example_volume

    image, labels = (io.read(path).array for path in example_volume())
    part = (slice(4, 30), slice(20, 84), slice(20, 84))
    volumes = np.bincount(labels[part].ravel())[1:]
    diameter = float((6 / np.pi * np.median(volumes[volumes > 200])) ** (1 / 3))
    return np.ascontiguousarray(image[part]), round(diameter, 1)  # the widget takes one decimal


@pytest.fixture
def widget(qtbot, tmp_path, crop):
    """The widget with the shipped network over the real volume."""
    from napari.components import ViewerModel

    from anystar_torch.napari.views.widget import SegmentationWidget

    viewer = ViewerModel()
    made = SegmentationWidget(viewer, memory=tmp_path / "models.json")
    made.state.device = "cpu"
    qtbot.addWidget(made)
    viewer.add_image(crop[0], name="nuclei", axis_labels=("z", "y", "x"))
    made.size_box.diameter.setValue(crop[1])
    made.corrections.runs = tmp_path / "runs"
    made.corrections.options = SHORT
    yield made
    made.jobs.cancel()
    made.corrections.training.cancel()
    qtbot.waitUntil(lambda: not (made.jobs.running or made.corrections.training.running), timeout=WAIT)


@pytest.mark.slow
def test_the_button_ends_in_a_model_that_is_chosen_and_predicts(qtbot, widget, crop, tmp_path):
    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    shown = widget.state.active()
    before = len(np.unique(shown.volume())) - 1
    assert before >= 10
    shown.delete([1])
    box = widget.corrections.box
    box.region.setCurrentText(WHOLE)
    press(qtbot, box.fine_tune)
    qtbot.waitUntil(lambda: not widget.corrections.training.running, timeout=30 * WAIT)
    folder = tmp_path / "runs"
    assert "is chosen now: run it" in box.training.text(), box.training.text()
    (run,) = folder.iterdir()
    assert widget.state.model == str(run / "model")
    assert widget.model_box.model.currentText() == str(run / "model")
    assert str(run / "model") in widget.state.models.recent
    learned = AnyStar.from_pretrained(run / "model")
    assert learned.config.provenance.notes["fine-tuned on"] == ["annotated"]
    start, now = AnyStar.from_pretrained().network, learned.network
    assert any((a != b).any() for a, b in zip(start.parameters(), now.parameters(), strict=True))
    told = json.loads((run / "finetuning.json").read_text())
    assert told["scores"]

    press(qtbot, widget.run_box.run)  # the next run uses the new model
    finished(qtbot, widget)
    again = widget.state.active()
    assert again is not shown
    assert again.result.record.model == str(run / "model")

    tifffile.imwrite(tmp_path / "crop.tif", crop[0])
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("predict", str(tmp_path / "crop.tif"), "--model", str(run / "model"), "--device", "cpu"),
                *("--diameter", f"{crop[1]:g}", "-o", str(tmp_path / "labels.tif")),
                *("--spacing", "1", "1", "1"),
            ]
        )
    assert ended.value.code == 0
    found = io.read_labels(tmp_path / "labels.tif").array
    assert found.max() > 0
    assert np.array_equal(found, again.volume())
