"""What the provenance says of the model that a training started from."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from anystar_torch.network import weights
from anystar_torch.network.provenance import Provenance
from anystar_torch.training.start_notes import start_notes
from tests.distributed.cases import small_model


def stored(folder, **settings):
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(settings), folder / ".hydra" / "config.yaml")
    return folder


@pytest.fixture(scope="module")
def save():
    """Write a model with some provenance into a folder."""
    model = small_model()

    def written(folder, **notes):
        weights.save(folder, model.network, replace(model.config, provenance=Provenance(notes=notes)))
        return folder

    return written


def test_a_run_from_random_weights_has_no_notes(tmp_path):
    assert start_notes(tmp_path) == {}
    assert start_notes(stored(tmp_path / "run", warm_start=None)) == {}


def test_the_volumes_of_a_fine_tuned_start_are_named(tmp_path, save):
    tuned = save(tmp_path / "tuned", **{"fine-tuned on": ["embryo", "organoid"], "start": "pretrained"})
    run = stored(tmp_path / "run", warm_start=str(tuned))
    expected = {"start": str(tuned), "fine-tuned on": ["embryo", "organoid"]}
    assert start_notes(run) == expected
    save(run / "model", **expected)
    again = stored(tmp_path / "again", warm_start=str(run))
    assert start_notes(again) == {**expected, "start": str(run)}


def test_the_shipped_weights_and_others_are_the_start(tmp_path, save):
    assert start_notes(stored(tmp_path / "a", warm_start="pretrained")) == {"start": "pretrained"}
    plain = save(tmp_path / "plain")
    assert start_notes(stored(tmp_path / "b", warm_start=str(plain))) == {"start": str(plain)}
    assert start_notes(stored(tmp_path / "c", warm_start="gone")) == {"start": "gone"}


def test_the_software_that_trained_the_start_is_named(tmp_path):
    model = small_model()
    imported = weights.save(tmp_path / "m", model.network, replace(model.config, imported_from="StarDist"))
    run = stored(tmp_path / "run", warm_start=str(imported))
    expected = {"start": str(imported), "start imported from": "StarDist"}
    assert start_notes(run) == expected
    trained = replace(model.config, provenance=Provenance(notes=expected))
    weights.save(run / "model", model.network, trained)
    again = stored(tmp_path / "again", warm_start=str(run))
    assert start_notes(again) == {**expected, "start": str(run)}


def test_stages_and_runs_without_a_model_are_followed(tmp_path, save):
    tuned = save(tmp_path / "tuned", **{"fine-tuned on": ["embryo"]})
    run = tmp_path / "run"
    first = stored(run / "stages" / "1", warm_start=str(tuned))
    stored(run, warm_start=str(first))
    assert start_notes(run) == {"start": str(tuned), "fine-tuned on": ["embryo"]}


def test_a_fine_tuning_without_a_model_names_its_volumes(tmp_path):
    annotated = [
        {"image": "scans/a.ome.tif", "labels": "a_labels.tif"},
        {"image": "b/image.npy", "labels": "c.npy"},
    ]
    stopped = stored(tmp_path / "stopped", warm_start="pretrained", data={"annotated": annotated})
    run = stored(tmp_path / "run", warm_start=str(stopped))
    assert start_notes(run) == {"start": "pretrained", "fine-tuned on": ["a", "b"]}
