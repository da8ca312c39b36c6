"""A saved network comes back the same; damaged folders are refused in one line."""

import json
import os
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from anystar_torch import AnyStar
from anystar_torch.network import loading, weights
from anystar_torch.network.provenance import Provenance
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone

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
        receptive_field=(8, 16, 16),
        provenance=Provenance(seed=3),
    )


def test_others_may_read_what_was_saved(tmp_path, network, config):
    (tmp_path / "any").touch()
    usual = (tmp_path / "any").stat().st_mode
    folder = weights.save(tmp_path / "model", network, config)
    assert {path.stat().st_mode for path in folder.iterdir()} == {usual}


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


def test_stored_as_float16_takes_half_the_space_and_predicts_the_same(tmp_path, network, config):
    image = torch.randn(1, 1, 16, 16, 16)
    whole = weights.save(tmp_path / "whole", network, config) / weights.WEIGHTS
    half = weights.save(tmp_path / "half", network, config, dtype=torch.float16) / weights.WEIGHTS
    tensors = load_file(half)
    assert {t.dtype for t in tensors.values()} == {
        torch.float16,
        torch.int64,
    }  # int64: batch normalisation counts
    assert half.stat().st_size < 0.75 * whole.stat().st_size
    loaded, read = weights.load(half.parent)
    assert read == config
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32, torch.int64}
    assert next(network.parameters()).dtype == torch.float32, "the network itself is left as it was"
    with torch.no_grad():
        torch.testing.assert_close(loaded(image).probability, network(image).probability, rtol=0, atol=2e-3)


def test_weights_that_float16_cannot_hold_are_refused(tmp_path, network, config):
    with torch.no_grad():
        network.probability.bias.fill_(1e6)
    with pytest.raises(ValueError, match=r"probability\.bias has values that torch\.float16 cannot hold"):
        weights.save(tmp_path / "model", network, config, dtype=torch.float16)
    assert not (tmp_path / "model").exists()


def test_a_config_of_an_earlier_version_is_read(tmp_path, network, config):
    """It had three facts among the provenance, and none of their fields."""
    folder = weights.save(tmp_path, network, config)
    content = json.loads((folder / weights.CONFIG).read_text())
    for name in ("imported_from", "sizes_known", "receptive_field"):
        del content[name]
    content["provenance"] = {"seed": 3, "imported": "StarDist", "sizes": "unknown", "halo": [8, 16, 16]}
    (folder / weights.CONFIG).write_text(json.dumps(content))
    _, read = weights.load(folder)
    assert read == replace(config, imported_from="StarDist", sizes_known=False, receptive_field=(8, 16, 16))
    assert read.imported


def test_the_shipped_config_is_read_and_says_nothing_of_another_software():
    content = json.loads((loading.SHIPPED / weights.CONFIG).read_text())
    read = weights.ModelConfig.from_dict(content)
    assert (read.imported, read.sizes_known) == (False, True)
    assert read.provenance.as_dict() == content["provenance"]
    assert (read.provenance.recipe, read.provenance.seed, read.provenance.notes["hours"]) == (
        "zero_shot",
        12345,
        3.4,
    )


def test_the_shipped_config_has_the_receptive_field_of_the_shipped_weights():
    network, config = weights.load(loading.SHIPPED)
    measured = AnyStar(network, replace(config, receptive_field=None)).tile_network("cpu").halo
    # processors round differently
    assert measured == pytest.approx(config.receptive_field, abs=2 * network.grid[0])


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
        ("receptive_field", (8, -1, 8)),
    ],
)
def test_nonsense_is_refused(config, name, value):
    with pytest.raises(ValueError, match=name):
        replace(config, **{name: value})


class Killed(BaseException):
    """Stands for the end of the process."""


def other(network, config):
    """Another network of the same architecture, and its configuration."""
    second = StarDist(**TINY).eval()
    assert not torch.equal(second.probability.weight, network.probability.weight)
    return second, replace(config, prob_thresh=0.9, provenance=Provenance(seed=4))


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("error", [Killed(), OSError(5, "Input/output error")])
def test_an_interrupted_save_leaves_no_mixed_pair(tmp_path, network, config, monkeypatch, call, done, error):
    """Interrupted before and after every change in the folder: both files are of one network, or are refused."""
    folder, (second, changed) = weights.save(tmp_path / "model", network, config), other(network, config)
    replace_file, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) != call + 1:
            replace_file(source, target)
            return
        if done:  # on some network drives a change is made and an error is reported
            replace_file(source, target)
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(type(error)):
        weights.save(folder, second, changed)
    monkeypatch.undo()
    if not (folder / weights.CONFIG).exists():
        with pytest.raises(ValueError, match=rf"{re.escape(str(folder))} has no config\.json$"):
            weights.load(folder)
    else:
        loaded, read = weights.load(folder)
        expected = next(one for known, one in [(config, network), (changed, second)] if known == read)
        assert torch.equal(loaded.probability.weight, expected.probability.weight)
    weights.save(folder, second, changed)
    assert weights.load(folder)[1] == changed


def test_weights_that_cannot_be_replaced_keep_their_configuration(tmp_path, network, config, monkeypatch):
    folder, (second, changed) = weights.save(tmp_path / "model", network, config), other(network, config)
    replace_file = os.replace

    def locked(source, target):
        if target == folder / weights.WEIGHTS:
            raise PermissionError(13, "Permission denied")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", locked)
    with pytest.raises(PermissionError):
        weights.save(folder, second, changed)
    assert weights.load(folder)[1] == config
    assert sorted(path.name for path in folder.iterdir()) == [weights.CONFIG, weights.WEIGHTS]
