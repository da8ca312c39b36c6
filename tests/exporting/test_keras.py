"""StarDist folders: what comes back is bit for bit what went in, and the file is laid out as Keras laid out its own."""

import json
import re

import h5py
import numpy as np
import pytest
import torch

from anystar_torch.exporting import export
from anystar_torch.network import loading
from anystar_torch.network.resnet import ResNetBackbone
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from tests.exporting.networks import config, resnet, seeing, unet

MODELS = ["unet_bn_g222", "unet_nobn_g122_d3", "unet_bn_g111_pool122_c2", "resnet_g122", "resnet_bn_g222"]
# Keras numbers layers of a class through a session; the stored models were made one after the other
AUTOMATIC = re.compile(
    r"\b(conv3d|batch_normalization|activation|max_pooling3d|up_sampling3d|concatenate|add)(_\d+)?\b"
)


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def layout(path):
    """Everything an HDF5 reader can see, except the numbers in automatic names and Keras' version."""

    def name(text):
        return AUTOMATIC.sub(r"\1", text)

    with h5py.File(path) as file:
        found = [(key, str(file.attrs.get_id(key).dtype)) for key in sorted(file.attrs)]
        found += [file.attrs["backend"], sorted(name(key) for key in file)]
        for layer in (*file.attrs["layer_names"], "top_level_model_weights"):
            group = file[layer]
            names = list(group.attrs["weight_names"])
            found += [
                name(layer),
                [name(n) for n in names],
                group.attrs.get_id("weight_names").dtype,
                len(group),
            ]
            found += [(group[n].dtype, group[n].shape, group[n][()].tobytes()) for n in names]
    return found


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_import_export_import_is_bit_identical(shared_data, tmp_path, model):
    stored = shared_data / "parity" / "models" / model
    network, known = loading.load_model(stored)
    export("keras", network, known, tmp_path / "model")
    again, read = loading.load_model(tmp_path / "model")
    assert same(network, again)
    assert read == known
    assert layout(tmp_path / "model" / "weights_best.h5") == layout(stored / "weights_best.h5")
    ours, theirs = (
        json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "model", stored)
    )
    for name in (
        "train_patch_size",
        "train_batch_size",
    ):  # how the stored models were trained, not what they are
        del ours[name], theirs[name]
    assert ours == theirs


def test_names_are_those_of_a_fresh_session(shared_data, tmp_path):
    stored = shared_data / "parity" / "models" / "unet_bn_g222"  # the first of its session
    export("keras", *loading.load_model(stored), tmp_path / "model")
    with h5py.File(stored / "weights_best.h5") as a, h5py.File(tmp_path / "model" / "weights_best.h5") as b:
        assert list(a.attrs["layer_names"]) == list(b.attrs["layer_names"])


@pytest.mark.parametrize(
    "network",
    [
        seeing(),
        resnet(),
        unet(features=0, classes=2, channels=3, anisotropy=(2, 1, 1)),
        unet(backbone=UNetBackbone(filters=2, depth=3, batch_norm=False, kernel=(3, 5, 3), pool=(1, 2, 2))),
        resnet(
            grid=(2, 4, 4), backbone=ResNetBackbone(filters=2, blocks=3, convolutions=3, batch_norm=False)
        ),
    ],
)
def test_our_networks_come_back_with_their_settings(tmp_path, network):
    known = config(network, normalisation="anystar", prob_thresh=0.37, nms_thresh=0.21)
    export("keras", network, known, tmp_path / "model")
    again, read = loading.load_model(tmp_path / "model")
    assert same(network, again)
    assert read == known
    assert again.architecture == network.architecture
    thresholds = json.loads((tmp_path / "model" / "thresholds.json").read_text())
    assert thresholds == {"prob": 0.37, "nms": 0.21}


def test_what_stardist_has_not_is_refused(tmp_path):
    network = seeing()
    network.architecture["backbone"]["kind"] = "transformer"
    with pytest.raises(ValueError, match="backbones unet, resnet"):
        export("keras", network, config(network), tmp_path / "model")
    network = unet(backbone=ResNetBackbone(filters=2, blocks=2, convolutions=1, batch_norm=False))
    with pytest.raises(ValueError, match="at least 2 convolutions"):
        export("keras", network, config(network), tmp_path / "model")
    network = seeing()
    network.attention = torch.nn.Conv3d(1, 1, 1)
    with pytest.raises(ValueError, match="layer attention"):
        export("keras", network, config(network), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["no JSON", "{}", "[]"])
def test_damaged_settings_are_one_line(tmp_path, text):
    export("keras", seeing(), config(seeing()), tmp_path / "model")
    (tmp_path / "model" / "anystar_torch.json").write_text(text)
    with pytest.raises(ValueError, match=r"anystar_torch\.json is not a file of anystar export") as error:
        loading.load_model(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_half_precision_is_written_as_float32(tmp_path):
    network = seeing().half()
    export("keras", network, config(network), tmp_path / "model")
    again, _ = loading.load_model(tmp_path / "model")
    assert isinstance(again, StarDist)
    assert np.array_equal(again.distances.weight.detach(), network.distances.weight.detach().float())
