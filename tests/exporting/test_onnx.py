"""ONNX: onnxruntime computes what torch computes, at every size, and finds what AnyStar finds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from anystar_torch import io
from anystar_torch.evaluation.matching import matching
from anystar_torch.exporting import export
from anystar_torch.exporting import onnx as exporter
from anystar_torch.exporting.dense import agree
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from tests.conftest import ROOT
from tests.exporting.networks import config, resnet, seeing, snippet


@pytest.fixture(scope="module", params=[seeing, resnet])
def exported(request, tmp_path_factory):
    network = request.param()
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    assert export("onnx", network, config(network), path) == [path]
    return network, path


@pytest.mark.long
@pytest.mark.parametrize(("batch", "blocks"), [(1, (2, 1, 1)), (3, (4, 5, 3)), (2, (7, 2, 6))])
def test_outputs_equal_torch(exported, batch, blocks):
    import onnxruntime

    network, path = exported
    size = [n * d for n, d in zip(blocks, network.divisor, strict=True)]
    image = torch.randn(batch, 1, *size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["probability", "distances"]
    outputs = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        expected = network(image)
    for ours, theirs in zip(expected, outputs, strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-4)
        assert theirs.std() > 0


@pytest.mark.long
def test_the_file_is_valid_and_says_what_post_processing_needs(exported):
    import onnx

    network, path = exported
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 18
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    known = config(network)
    assert metadata["grid"] == list(network.grid)
    assert metadata["divisor"] == list(network.divisor)
    assert (metadata["normalisation"], metadata["prob_thresh"], metadata["nms_thresh"]) == (
        "percentile",
        0.6,
        0.3,
    )
    assert metadata["diameter_band"] == list(known.diameter_band)
    rays = Rays(torch.tensor(metadata["rays"]["vertices"]), torch.tensor(metadata["rays"]["faces"]))
    assert torch.equal(rays.vertices, network.rays.vertices)
    assert torch.equal(rays.faces, network.rays.faces)


@pytest.mark.long
def test_the_snippet_of_the_page_runs(exported, monkeypatch):
    network, path = exported
    monkeypatch.chdir(path.parent)
    names = {}
    exec(snippet("network.onnx"), names)
    on_grid = (4 * d // g for d, g in zip(network.divisor, network.grid, strict=True))
    assert names["distances"].shape == (1, 16, *on_grid)


@pytest.mark.long
@pytest.mark.parametrize("smallest_tile", [0, 48])  # voxels; the volume becomes thinner than 48
def test_the_example_finds_what_anystar_finds(shared_data, tmp_path, smallest_tile):
    network, path = seeing(), tmp_path / "network.onnx"
    settings = config(network, smallest_tile=smallest_tile)
    export("onnx", network, settings, path)
    volume, labels = (tmp_path / name for name in ("volume.tif", "labels.tif"))
    scan = io.read(shared_data / "real" / "stardist_img3d" / "image.tif")
    io.write(volume, scan.array, scan)
    example = ROOT / "examples" / "onnx_predict.py"
    assert len(example.read_text().splitlines()) <= 50  # the page says about 50
    subprocess.run([sys.executable, str(example), path, volume, labels, "14"], check=True)
    float32 = TileOptions(precision=torch.float32)  # the program's
    model = AnyStar(network, settings, shape_averaging=False, coarse_pass=False, tile_options=float32)
    found = model.predict(
        scan.array, spacing=scan.spacing or (1, 1, 1), diameter=14, device="cpu", progress=False
    )
    score = matching(found.labels, io.read_labels(labels).array, iou_thresh=0.99)
    assert len(found) > 10
    assert (score.tp, score.fp, score.fn) == (len(found), 0, 0)


def test_weights_beyond_one_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "_LARGEST", 100)
    with pytest.raises(ValueError, match="2 GB of weights in one file"):
        export("onnx", seeing(), config(seeing()), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_a_program_that_computes_something_else_is_refused():
    agree("onnx", [torch.ones(3)], [torch.ones(3) + 1e-6], 1e-5)
    for wrong in (1.1, float("nan")):
        with pytest.raises(ValueError, match="differs from the network"):
            agree("onnx", [torch.ones(3), torch.full((2,), wrong)], [torch.ones(3), torch.ones(2)], 1e-5)
