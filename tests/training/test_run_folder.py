"""Who may use a run folder, and what is said about the settings of a resumed run."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training import main
from anystar_torch.training.module import Training
from anystar_torch.training.run_folder import (
    LINES,
    changed_settings,
    check_same_stage,
    check_unused,
    claimed,
    resumed_config,
    say_unused,
    started_from,
)
from anystar_torch.training.runs import in_its_folder
from tests.training.test_report import report


@pytest.mark.parametrize(
    "file", ["checkpoints/last.ckpt", "stages/2/checkpoints/last.ckpt", "model/config.json"]
)
def test_a_folder_with_an_earlier_training_is_refused(tmp_path, file):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    check_unused(str(run))
    check_unused(str(tmp_path / "new"))
    (run / file).parent.mkdir(parents=True)
    (run / file).touch()
    name = re.escape(str(run))
    with pytest.raises(
        ValueError, match=f"^{name} holds an earlier training; resume it with resume={name}, or"
    ):
        check_unused(str(run))


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    """Hydra has already made the folder of that name for all of them."""
    name = str(tmp_path / "12-00-00-mix")
    (tmp_path / "12-00-00-mix").mkdir()
    with ThreadPoolExecutor(4) as together:
        found = set(together.map(claimed, [name] * 4))
    assert found == {name, *(f"{name}-{number}" for number in (2, 3, 4))}


@pytest.mark.parametrize("word", ["run_folder", "hydra.run.dir"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys, word):
    """Hydra makes the second one before the training is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        main.main(["+experiment=plain", f"{word}={tmp_path / 'file' / 'run'}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert f"Not a directory: '{tmp_path / 'file' / 'run'}'" in line


STORED = {
    "seed": 1,
    "warm_start": "/old/run/stages/1",
    "resume": None,
    "minutes": None,
    "trainer": {"max_steps": 6},
    "synth": {"seed": "${seed}", "radius": [3, 4]},
    "training": {"optimizer": {"lr": 1e-3, "eps": 1e-7}, "compile": False},
    "report": {"samples": 2},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(STORED), tmp_path / ".hydra" / "config.yaml")
    return tmp_path


def given(*words):
    config = OmegaConf.merge(STORED, OmegaConf.from_dotlist(["warm_start=/new/run/stages/1", *words]))
    OmegaConf.set_struct(config, True)
    return config


def test_a_stage_with_the_same_settings_is_resumed(folder):
    """Also in a folder that was moved, and where a budget gives the number of steps."""
    check_same_stage(folder, given("resume=a", "report.samples=3", "training.optimizer.lr=1"), False)
    check_same_stage(folder, given("trainer.max_steps=7"), True)
    check_same_stage(folder / "new", given("seed=2"), False)


@pytest.mark.parametrize(
    ("word", "phrase"),
    [
        ("seed=2", "seed is 1 there and 2 here"),
        ("trainer.max_steps=7", "trainer.max_steps is 6 there and 7 here"),
        ("synth.radius=[3,5]", r"synth.radius is \[3, 4\] there and \[3, 5\] here"),
        ("warm_start=/new/run/stages/2", "warm_start is stages/1 there and stages/2 here"),
    ],
)
def test_a_stage_with_other_settings_is_refused(folder, word, phrase):
    with pytest.raises(
        ValueError, match=rf"^cannot resume {re.escape(str(folder))}: .*: {phrase}; repeat the stages"
    ):
        check_same_stage(folder, given(word), False)


def test_changed_settings_are_printed(folder, capsys):
    """Those in the checkpoint keep their value, and the others are stored."""
    config = given(
        "training.optimizer.eps=1", "training.optimizer.lr=2", "report.samples=3", "seed=2", "resume=a"
    )
    kept = resumed_config(str(folder), config)
    assert capsys.readouterr().out.splitlines() == [
        "resumed: seed is 2 from here on; it was 1",
        "resumed: training.optimizer.lr is 2 from here on; it was 0.001",
        "resumed: training.optimizer.eps stays 1e-07; 1 is not applied",
        "resumed: report.samples is 3 from here on; it was 2",
    ]
    assert (kept.training.optimizer.eps, kept.training.optimizer.lr, kept.report.samples) == (1e-7, 2, 3)
    assert config.training.optimizer.eps == 1
    assert resumed_config(str(folder), given()) == given()
    say_unused(folder, config, "stage 1 of 2")
    assert capsys.readouterr().out.splitlines() == [
        "stage 1 of 2 is complete and keeps training.optimizer.lr=0.001; 2 is not applied",
        "stage 1 of 2 is complete and keeps training.optimizer.eps=1e-07; 1 is not applied",
    ]


def test_a_resumed_run_keeps_what_it_started_from(folder, tmp_path):
    """Where that is gone, such as in a folder that was moved, the given one."""
    assert started_from(folder, given()) == "/new/run/stages/1"
    assert started_from(tmp_path / "new", given()) == "/new/run/stages/1"
    for start in (str(tmp_path), "pretrained", None):
        OmegaConf.save(OmegaConf.create({**STORED, "warm_start": start}), folder / ".hydra" / "config.yaml")
        assert started_from(folder, given()) == start


def test_a_resumed_fine_tuning_is_built_from_its_first_model(folder, monkeypatch):
    """Its teacher is that model, and it is compared with it."""
    OmegaConf.save(
        OmegaConf.create({**STORED, "warm_start": "pretrained"}), folder / ".hydra" / "config.yaml"
    )
    register_resolvers()
    words = ["+experiment=finetune", "warm_start=other", f"resume={folder}"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("train", overrides=words, return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)
    placed = in_its_folder(composed)
    assert placed.training.teacher.path == placed.data.start == "pretrained"
    assert composed.warm_start == "other"


def test_many_changed_settings_are_counted(folder, capsys):
    words = {f"new{number}": number for number in range(LINES + 5)}
    config = OmegaConf.create({**STORED, **words})
    assert len(changed_settings(folder, config)) == LINES + 5
    resumed_config(str(folder), config)
    assert capsys.readouterr().out.splitlines()[-1] == "resumed: 5 more settings changed"


def test_labels_without_their_volume_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"report\.truth needs report\.image"):
        report(tmp_path, truth=str(tmp_path / "missing.tif"))


def states(rate, current):
    """The entries of a checkpoint that hold the learning rate."""
    return {
        "optimizer_states": [{"param_groups": [{"lr": current, "initial_lr": rate}]}],
        "lr_schedulers": [{"base_lrs": [rate]}],
    }


@pytest.mark.parametrize(("rate", "current"), [(1e-3, 2.5e-4), (2e-3, 5e-4)])
def test_a_changed_learning_rate_is_applied_to_the_checkpoint(rate, current):
    """At a quarter of the rate, which stays a quarter; the same rate is not touched."""
    checkpoint = states(1e-3, 2.5e-4)
    module = SimpleNamespace(optimizer=partial(torch.optim.Adam, lr=rate))
    Training.on_load_checkpoint(module, checkpoint)
    assert checkpoint == states(rate, current)
