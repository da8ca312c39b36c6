"""BioImage.IO packages: valid, reproduced by bioimageio.core from both weights, and the objects are AnyStar's."""

import shutil
import signal
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from anystar_torch.evaluation.matching import matching
from anystar_torch.exporting import bioimageio, card, export
from anystar_torch.exporting.specimen import specimen
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network.normalisation import NORMALISATIONS
from tests.exporting.networks import config, seeing, snippet

pytestmark = pytest.mark.filterwarnings("ignore")  # of bioimageio's and xarray's own making


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package whose last step, the check, is left to the tests."""
    path = tmp_path_factory.mktemp("bioimageio") / "package.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bioimageio, "check", lambda package: None)
        network = seeing()
        export("bioimageio", network, config(network), path, authors=["A. First"], license_id="MIT")
    return path


@pytest.fixture(scope="module")
def description(package):
    from bioimageio.core import load_model_description

    return load_model_description(package)


@pytest.mark.long
def test_writing_gives_ctrl_c_back(package):  # before the others call stardist themselves
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.long
def test_bioimageio_core_accepts_it_offline(package, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    bioimageio.check(package)


@pytest.mark.long
def test_the_example_of_the_page_runs(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(package, "package.zip")
    network = seeing()
    np.save("volume.npy", specimen(network, config(network)))
    names = {}
    exec(snippet("package.zip"), names)
    assert names["labels"].shape == np.load("volume.npy").shape
    assert names["labels"].max() > 0


@pytest.mark.long
def test_a_package_that_does_not_reproduce_is_refused(package, tmp_path):
    with zipfile.ZipFile(package) as file:
        file.extractall(tmp_path / "content")
    yaml = tmp_path / "content" / "rdf.yaml"
    yaml.write_text(yaml.read_text().replace("prob_threshold: 0.6", "prob_threshold: 0.7"))
    damaged = shutil.make_archive(str(tmp_path / "damaged"), "zip", tmp_path / "content")
    with pytest.raises(ValueError, match=r"does not accept .* Reproduce test outputs") as error:
        bioimageio.check(Path(damaged))
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_it_says_what_it_is(package, description):
    assert description.format_version.startswith("0.5")
    assert description.license == "MIT"
    assert [str(entry.doi) for entry in description.cite] == [doi for _, doi in card.CITATIONS]
    assert [author.name for author in description.authors] == ["A. First"]
    assert "Synthetic volumes" in description.training_data.description
    suppression = description.outputs[0].postprocessing[0]
    assert suppression.id == "stardist_postprocessing"
    assert (suppression.kwargs.prob_threshold, suppression.kwargs.grid) == (0.6, (1, 2, 2))
    assert {"onnx", "pytorch_state_dict"} == {
        k for k, v in dict(description.weights).items() if v is not None
    }
    with zipfile.ZipFile(package) as file:
        assert "## Validation" in file.read("README.md").decode()
        with file.open("cover.png") as cover:
            height, width = imread(cover).shape[:2]
        assert file.getinfo("cover.png").file_size < 500_000
    assert width == 2 * height


@pytest.mark.long
def test_it_finds_the_objects_anystar_finds(description):
    from bioimageio.core import predict

    network = seeing()
    known = config(network)
    volume = specimen(network, known)
    labels = predict(model=description, inputs={"volume": volume[None, None]}).members["labels"].to_numpy()
    float32 = TileOptions(precision=torch.float32)  # the package's
    model = AnyStar(network, known, shape_averaging=False, coarse_pass=False, tile_options=float32)
    found = model.predict(volume, diameter=10, device="cpu", progress=False)
    score = matching(found.labels, labels[0, ..., 0].astype(np.int32), iou_thresh=0.9)
    assert len(found) >= 8
    assert (score.tp, score.fp, score.fn) == (len(found), 0, 0)


@pytest.mark.long
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_preprocessing_is_our_normalisation(description, normalisation):
    from bioimageio.core import create_prediction_pipeline
    from bioimageio.core.digest_spec import create_sample_for_model
    from bioimageio.spec.model import v0_5

    network = seeing()
    known = config(network, normalisation=normalisation)
    entry = bioimageio._input(Path(), network, known)
    del entry["test_tensor"]
    steps = v0_5.InputTensorDescr(**entry).preprocessing
    changed = description.inputs[0].model_copy(update={"preprocessing": steps})
    ours = description.model_copy(update={"inputs": [changed]})
    volume = specimen(network, known)
    volume[3, 4, 5] = 1e4  # something to clip
    with create_prediction_pipeline(ours, weight_format="onnx") as pipeline:
        sample = create_sample_for_model(ours, inputs={"volume": volume[None, None]})
        pipeline.apply_preprocessing(sample)
    theirs = sample.members["volume"].to_numpy()[0, 0]
    expected = intensity_range(volume, normalisation).normalise(torch.from_numpy(volume)).numpy()
    np.testing.assert_allclose(theirs, expected, atol=1e-4 * abs(expected).max())


@pytest.mark.long
def test_a_network_that_finds_nothing_is_refused(tmp_path):
    network = seeing()
    with pytest.raises(ValueError, match="needs a network that finds objects"):
        export("bioimageio", network, config(network, prob_thresh=0.9999), tmp_path / "package.zip")
    assert not list(tmp_path.iterdir())
