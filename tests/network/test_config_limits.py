"""What a configuration of a network and the folder of a StarDist model may hold."""

import math
import shutil

import pytest

from anystar_torch.network import keras_import as keras
from anystar_torch.network.weights import ModelConfig


def config(**changes):
    settings = {
        "architecture": {},
        "normalisation": "minmax",
        "diameter_band": (6.0, 13.0, 21.0),
        "prob_thresh": 0.5,
        "nms_thresh": 0.3,
    }
    return ModelConfig(**{**settings, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diameter_band", (0.0, 4.0, 9.0)),
        ("diameter_band", (6.0, 5.0, 9.0)),
        ("diameter_band", (4.0, 6.0, 5.0)),
        ("diameter_band", (4.0, 6.0, math.inf)),
        ("diameter_band", (4.0, math.nan, 9.0)),
        ("prob_thresh", -0.1),
        ("prob_thresh", math.nan),
        ("nms_thresh", 1.1),
        ("smallest_tile", -1),
    ],
)
def test_values_outside_of_their_limits_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        config(**{name: value})


def test_values_at_their_limits_are_valid():
    one = config(
        diameter_band=(5.0, 5.0, 5.0),
        prob_thresh=0.0,
        nms_thresh=1.0,
        receptive_field=(0, 0, 0),
        smallest_tile=0,
    )
    assert ModelConfig.from_dict(one.as_dict()) == one


def test_what_is_not_given_is_not_known():
    one = config()
    assert (one.imported, one.sizes_known, one.receptive_field, one.smallest_tile) == (False, True, None, 0)


STARDIST = {
    "n_dim": 3,
    "backbone": "unet",
    "rays_json": {"name": "Rays_GoldenSpiral", "kwargs": {"n": 24, "anisotropy": [2.0, 1.0, 1.5]}},
    "grid": [1, 2, 4],
    "net_conv_after_unet": 17,
    "n_channel_in": 3,
    "n_classes": 5,
    "unet_n_filter_base": 8,
    "unet_n_depth": 2,
    "unet_batch_norm": True,
    "unet_kernel_size": [3, 5, 3],
    "unet_pool": [1, 2, 2],
}


def test_every_setting_of_stardist_has_its_place():
    assert keras.architecture(STARDIST) == {
        "rays": 24,
        "anisotropy": [2.0, 1.0, 1.5],
        "grid": [1, 2, 4],
        "features": 17,
        "channels": 3,
        "classes": 5,
        "backbone": {
            "kind": "unet",
            "filters": 8,
            "depth": 2,
            "batch_norm": True,
            "kernel": [3, 5, 3],
            "pool": [1, 2, 2],
        },
    }
    plain = {**STARDIST, "n_classes": None, "rays_json": {"name": "Rays_GoldenSpiral", "kwargs": {"n": 24}}}
    found = keras.architecture(plain)
    assert (found["classes"], found["anisotropy"]) == (0, [1.0, 1.0, 1.0])


def test_other_rays_are_refused():
    rays = {"name": "Rays_Cartesian", "kwargs": {"n": 24}}
    with pytest.raises(ValueError, match="has Rays_Cartesian; only Rays_GoldenSpiral can be loaded"):
        keras.architecture({**STARDIST, "rays_json": rays})


def test_the_best_weights_are_loaded_where_there_are_several(shared_data, tmp_path):
    """Those of the last epoch, and of any other name, are damaged here."""
    stored = shared_data / "parity" / "models" / "unet_bn_g222"
    for name in ("config.json", "weights_best.h5"):
        shutil.copyfile(stored / name, tmp_path / name)
    for name in ("a.h5", "weights_last.h5"):
        (tmp_path / name).write_text("no")
    network, _ = keras.load_stardist(tmp_path)
    assert not network.training
    (tmp_path / "weights_best.h5").rename(tmp_path / "weights_last.h5")
    keras.load_stardist(tmp_path)
    assert keras.is_stardist_folder(tmp_path)
    for name in ("a.h5", "weights_last.h5"):
        (tmp_path / name).unlink()
    assert not keras.is_stardist_folder(tmp_path)
