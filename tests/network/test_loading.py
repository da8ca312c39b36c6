"""What a path to a model may be."""

import shutil

import pytest
import torch

from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import loading, weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from tests.inference.scenes import config


@pytest.fixture
def saved(tmp_path):
    network = StarDist(rays=16, backbone=UNetBackbone(filters=2, depth=1, batch_norm=True), features=4).eval()
    folder = weights.save(tmp_path / "run" / "model", network, config(architecture=network.architecture))
    return network, folder


def test_a_model_folder_and_the_run_folder_around_it(saved):
    network, folder = saved
    for path in (folder, folder.parent, str(folder)):
        loaded, settings = loading.load_model(path)
        image = torch.rand(1, 1, 8, 8, 8)
        with torch.inference_mode():
            assert torch.equal(loaded(image).distances, network(image).distances)
        assert settings.prob_thresh == 0.6


def test_a_stardist_folder(shared_data, tmp_path):
    source = shared_data / "parity" / "models" / "unet_bn_g222"
    for name in ("config.json", "weights_best.h5"):
        shutil.copy(source / name, tmp_path)
    model = AnyStar.from_pretrained(tmp_path)
    assert model.config.normalisation == "percentile"
    assert (model.config.imported_from, model.config.sizes_known) == ("StarDist", False)
    assert model.network.grid == (2, 2, 2)
    (tmp_path / "thresholds.json").write_text('{"prob": 0.7, "nms": 0.2}')
    again = AnyStar.from_pretrained(tmp_path).config
    assert (again.prob_thresh, again.nms_thresh) == (0.7, 0.2)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a model is a folder with"):
        loading.load_model(tmp_path)
    with pytest.raises(ValueError, match="there is no model folder"):
        loading.load_model(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "weights_best.h5").write_text("no weights")
    with pytest.raises(ValueError, match=str(tmp_path)):
        loading.load_model(tmp_path)
