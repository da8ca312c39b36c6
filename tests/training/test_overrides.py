"""Every form of an override of Hydra is recognised, and no other setting is taken for it."""

from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from anystar_torch.training import runs
from anystar_torch.training.overrides import sets


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("minutes=10", True),
        ("+minutes=10", True),
        ("++minutes=10", True),
        ("minutes=null", True),
        ("~minutes", False),
        ("minutes.least=10", False),
        ("trainer.minutes=10", False),
        ("name='minutes=10'", False),
    ],
)
def test_which_overrides_set_a_value(word, expected):
    assert sets(["seed=2", word], "minutes") is expected
    assert sets([], "minutes") is False


def test_interpolations_stay_as_they_were_given():
    """Resolved, this name has a space and a bracket, which Hydra's grammar does not accept."""
    words = OmegaConf.create({"words": ["name=${other}", "++minutes=10"], "other": "a ("}).words
    assert sets(words, "minutes")


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_the_run_folder_is_the_one_that_was_given_to_hydra(monkeypatch, prefix):
    hydra = SimpleNamespace(
        mode=RunMode.RUN,
        overrides=SimpleNamespace(hydra=[f"{prefix}hydra.run.dir=b"]),
        runtime=SimpleNamespace(output_dir="/b"),
    )
    monkeypatch.setattr(runs, "HydraConfig", SimpleNamespace(get=lambda: hydra))
    assert runs.in_its_folder(OmegaConf.create({"run_folder": "a", "resume": None})).run_folder == "/b"
