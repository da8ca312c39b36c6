"""A saved network comes back the same; damaged folders are refused in one line."""

import json

import pytest
import torch

from anystar_torch import weights
from anystar_torch.stardist import StarDist
from anystar_torch.unet import UNetBackbone

TINY = {
    "rays": 8,
    "grid": (2, 2, 2),
    "features": 8,
    "backbone": UNetBackbone(filters=4, depth=1, batch_norm=True),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return StarDist(**TINY).eval()


@pytest.fixture
def config(network):
    return weights.ModelConfig(
        architecture=network.architecture,
        normalisation="anystar",
        diameter_band=(6.0, 13.0, 21.0),
        prob_thresh=0.5,
        nms_thresh=0.3,
        provenance={"seed": 3},
    )


def test_round_trip(tmp_path, network, config):
    image = torch.randn(1, 1, 8, 8, 8)
    loaded, read = weights.load(weights.save(tmp_path / "model", network, config))
    assert read == config
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(image).distances, network(image).distances)
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "weights.safetensors"]


def test_half_precision_weights_load_as_float32(tmp_path, network, config):
    loaded, _ = weights.load(weights.save(tmp_path, network.half(), config))
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def damage_missing(folder):
    (folder / weights.WEIGHTS).unlink()


def damage_truncated(folder):
    path = folder / weights.WEIGHTS
    path.write_bytes(path.read_bytes()[:100])


def damage_text(folder):
    (folder / weights.CONFIG).write_text("not json")


def damage_other_network(folder):
    content = json.loads((folder / weights.CONFIG).read_text())
    content["architecture"]["backbone"]["filters"] = 8
    (folder / weights.CONFIG).write_text(json.dumps(content))


def damage_keys(folder):
    content = json.loads((folder / weights.CONFIG).read_text())
    del content["architecture"]
    (folder / weights.CONFIG).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage", [damage_missing, damage_truncated, damage_text, damage_other_network, damage_keys]
)
def test_damage_is_one_line(tmp_path, network, config, damage):
    folder = weights.save(tmp_path, network, config)
    damage(folder)
    with pytest.raises(ValueError, match=str(tmp_path)) as error:
        weights.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("normalisation", "other"),
        ("diameter_band", (5.0, 4.0, 9.0)),
        ("prob_thresh", 1.5),
        ("nms_thresh", -0.1),
    ],
)
def test_nonsense_is_refused(config, name, value):
    from dataclasses import replace

    with pytest.raises(ValueError, match=name):
        replace(config, **{name: value})
