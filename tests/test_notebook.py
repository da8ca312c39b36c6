"""The example notebook runs from top to bottom on a real volume, and contains its outputs."""

import os
import re
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from anystar_torch.network import loading, weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.report import example_volume
from tests.inference.scenes import config

NOTEBOOK = Path(__file__).parent.parent / "examples" / "predict.ipynb"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The shipped network; while there is none, one without training, so that every cell has something to work on."""
    monkeypatch.delenv("MODEL", raising=False)
    if (loading.SHIPPED / weights.WEIGHTS).is_file():
        return
    torch.manual_seed(0)
    backbone = UNetBackbone(filters=4, depth=1, batch_norm=True)
    network = StarDist(rays=32, grid=(2, 2, 2), features=8, backbone=backbone)
    torch.nn.init.normal_(network.probability.weight, std=3.0)
    torch.nn.init.constant_(network.distances.bias, 5.0)
    settings = config(architecture=network.architecture, prob_thresh=0.5)
    monkeypatch.setenv("MODEL", str(weights.save(tmp_path / "model", network, settings)))


def printed_by(notebook):
    """What the cells of a notebook printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def numbers_of_objects(printed):
    """The numbers of objects: found with the diameter given and estimated, and inside the volume; the estimate."""
    found = [int(number) for number in re.findall(r"^(\d+) objects", printed, re.MULTILINE)]
    assert len(found) == 3
    return [*found, float(re.search(r"estimated as ([\d.]+) voxels", printed)[1])]


@pytest.mark.slow
@pytest.mark.skipif(
    example_volume() is None, reason="the stardist package, which brings the volume, is missing"
)
def test_the_notebook_runs_from_top_to_bottom(model, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("VOLUME", "TRUTH", "SPACING", "DIAMETER"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = printed_by(notebook)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    printed = printed_by(notebook)
    assert "img3d.tif (31, 61, 57) uint16" in printed
    assert "nuclei.labels.tif" in printed
    if "MODEL" not in os.environ:  # processors round differently
        assert numbers_of_objects(printed) == pytest.approx(numbers_of_objects(stored), rel=0.05)
    pictures = [
        o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 2


def test_what_it_shows_is_stored():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 1_000_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert not [o for cell in code for o in cell.outputs if o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for cell in code for o in cell.outputs) == 2
