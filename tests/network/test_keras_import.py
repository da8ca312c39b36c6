"""Networks that Keras stored: every layout of the file gives the outputs Keras computed."""

import json
import shutil

import numpy as np
import pytest
import torch

from anystar_torch.network import keras_import as keras
from anystar_torch.network.stardist import StarDist

MODELS = ["unet_bn_g222", "unet_nobn_g122_d3", "unet_bn_g111_pool122_c2", "resnet_g122", "resnet_bn_g222"]
FILES = ["weights_best.h5", "weights_keras2.h5", "weights_keras3.weights.h5"]


def channels_first(array):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def close(ours, theirs):
    return (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("file", FILES)
def test_outputs_equal_keras(shared_data, model, file):
    folder = shared_data / "parity" / "models" / model
    architecture = keras.architecture(json.loads((folder / "config.json").read_text()))
    network = StarDist.from_architecture(architecture).eval()
    keras.load_weights(network, folder / file)
    stored = np.load(folder / "io.npz")
    image = channels_first(stored["x"])
    with torch.no_grad():
        logits, distances = network.logits(image)
        assert close(distances, channels_first(stored["dist"]))
        assert close(torch.sigmoid(logits), channels_first(stored["prob"]))
        if network.classes:
            classes = network.class_logits(network.class_features(network.backbone(image)))
            assert close(torch.softmax(classes, dim=1), channels_first(stored["prob_class"]))


@pytest.fixture
def folder(shared_data, tmp_path):
    """A copy of a stored model that a test may damage."""
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("config.json", "weights_best.h5"):
        shutil.copyfile(shared_data / "parity" / "models" / "unet_bn_g222" / name, copy / name)
    return copy


def test_a_folder_loads_with_its_thresholds(folder):
    assert keras.is_stardist_folder(folder)
    assert keras.load_stardist(folder)[1] == {}
    (folder / "thresholds.json").write_text(json.dumps({"prob": 0.4, "nms": 0.2}))
    network, thresholds = keras.load_stardist(folder)
    assert thresholds == {"prob": 0.4, "nms": 0.2}
    assert not network.training


@pytest.mark.parametrize(
    ("entry", "value"),
    [("backbone", "fpn"), ("unet_n_conv_per_depth", 3), ("n_dim", 2), ("unet_activation", "elu")],
)
def test_what_cannot_be_expressed_is_refused_in_one_line(folder, entry, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, entry: value}))
    with pytest.raises(ValueError, match="this StarDist model has") as error:
        keras.load_stardist(folder)
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_fit_its_config_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "unet_n_filter_base": 4}))
    with pytest.raises(ValueError, match="has a kernel of"):
        keras.load_stardist(folder)
    (folder / "config.json").write_text(json.dumps({**config, "unet_n_depth": 1}))
    with pytest.raises(ValueError, match="convolution layers"):
        keras.load_stardist(folder)


def test_a_file_that_is_not_hdf5_is_refused(folder):
    (folder / "weights_best.h5").write_text("no")
    with pytest.raises(ValueError, match="not a Keras weights file"):
        keras.load_stardist(folder)
