"""Qt without a screen, and viewers without a canvas: what the tests of the plugin share."""

import importlib
import os
import warnings
from importlib.util import find_spec

import numpy as np
import pytest

from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
SHAPE = (24, 40, 48)


def pytest_configure(config):
    """Take the plugin of Qt, which pyproject.toml leaves out of all other test runs, and import napari."""
    if not (find_spec("pytestqt") and find_spec("PyQt6") and find_spec("napari")):
        return
    config.pluginmanager.import_plugin("pytestqt.plugin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # npe2 and napari use what pydantic will remove
        for name in ("napari", "napari.layers", "napari.components", "napari.qt.threading", "npe2"):
            importlib.import_module(name)
        from napari.utils import triangulation_backend

        # shapes need triangles; without this numba compiles for half a minute to make them faster
        triangulation_backend.set_backend(triangulation_backend.TriangulationBackend.pure_python)


@pytest.fixture(scope="session")
def network():
    """A network that sees balls by their brightness (tests/inference/scenes.py)."""
    from anystar_torch.inference.predictor import AnyStar

    return AnyStar(Sees().eval(), config(), shape_averaging=False, coarse_pass=False)


@pytest.fixture(scope="session")
def scene():
    """Six balls: image and labels."""
    return balls(SHAPE, lattice(SHAPE, 15), RADIUS)


@pytest.fixture
def viewer():
    """A viewer without a canvas."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def state(viewer, network, scene):
    """Choices over a viewer that shows the balls, with the network that sees them."""
    from anystar_torch.napari.models import SHIPPED, Models
    from anystar_torch.napari.state import State

    models = Models()
    models._loaded[SHIPPED] = network
    layer = viewer.add_image(scene[0], name="balls", axis_labels=("z", "y", "x"))
    return State(viewer, models, image=layer, device="cpu", diameter=2 * RADIUS)


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture
def widget(qtbot, viewer, network, scene, tmp_path):
    """The widget over a viewer that shows the balls."""
    from anystar_torch.napari.models import SHIPPED
    from anystar_torch.napari.views.widget import SegmentationWidget
    from tests.napari.pressing import WAIT

    made = SegmentationWidget(viewer, memory=tmp_path / "models.json")
    made.state.models._loaded[SHIPPED] = network
    made.state.device = "cpu"
    qtbot.addWidget(made)
    viewer.add_image(scene[0], name="balls", axis_labels=("z", "y", "x"))
    made.size_box.diameter.setValue(2 * RADIUS)
    yield made
    made.jobs.cancel()
    qtbot.waitUntil(lambda: not (made.jobs.running or made.live.running), timeout=WAIT)


@pytest.fixture
def done(qtbot, widget):
    """The widget after a run."""
    from tests.napari.pressing import finished, press

    press(qtbot, widget.run_box.run)
    finished(qtbot, widget)
    return widget
