"""Every form of an override of Hydra is recognised, and no other setting is taken for it."""

from datetime import date
from types import SimpleNamespace

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

from anystar_torch.training import runs
from anystar_torch.training.overrides import CHOICES, WITH_CHOICE, WITH_VALUE, flags_first, sets


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


def test_a_folder_named_by_the_time_is_that_of_one_run(monkeypatch, tmp_path):
    setup_globals()  # Hydra registers ${now:}
    hydra = OmegaConf.create({"hydra": {"run": {"dir": "a"}, "overrides": {"hydra": []}}})
    OmegaConf.set_readonly(hydra.hydra, True)
    config = SimpleNamespace(get=lambda: hydra.hydra, instance=lambda: SimpleNamespace(cfg=hydra))
    monkeypatch.setattr(runs, "HydraConfig", config)
    given = OmegaConf.create({"run_folder": f"{tmp_path}/${{now:%Y}}", "resume": None})
    names = [runs.in_its_folder(given).run_folder for _ in range(2)]
    assert names == [str(tmp_path / f"{date.today().year}{end}") for end in ("", "-2")]
    assert hydra.hydra.run.dir == names[1], "for the other ranks"
    given.run_folder = str(tmp_path / "named")
    assert [runs.in_its_folder(given).run_folder for _ in range(2)] == [given.run_folder] * 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["+experiment=plain", "--config-dir", "D", "seed=3"],
            ["--config-dir", "D", "+experiment=plain", "seed=3"],
        ),
        (["seed=3", "-m", "name=a", "-cd=D", "~minutes"], ["-m", "-cd=D", "seed=3", "name=a", "~minutes"]),
        (["seed=3", "--info", "searchpath", "name=a"], ["--info", "searchpath", "seed=3", "name=a"]),
        (
            ["seed=3", "--info", "name=all", "-c", "job", "x=1"],
            ["--info", "all", "-c", "job", "seed=3", "name=all", "x=1"],
        ),
        (["seed=3", "-i"], ["-i", "all", "seed=3"]),
        ([], []),
    ],
)
def test_flags_come_before_overrides(words, expected):
    """Hydra refuses overrides on both sides of a flag."""
    assert flags_first(words) == expected
    get_args_parser().parse_args(expected)


def test_the_flags_are_those_of_hydra():
    actions = [action for action in get_args_parser()._actions if action.option_strings]
    for names, nargs in ((WITH_VALUE, None), (WITH_CHOICE, "?")):
        assert names == {
            name for action in actions if action.nargs == nargs for name in action.option_strings
        }
    (info,) = (action for action in actions if "--info" in action.option_strings)
    assert set(info.choices) == CHOICES
