"""Settings of training stages that are not valid are refused before the first stage trains."""

from contextlib import contextmanager
from copy import deepcopy
from unittest.mock import Mock

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training.module import Training
from anystar_torch.training.settings import check_trainer
from anystar_torch.training.stages import stages_to_run

STAGED = "stages=[['trainer.max_steps=6'],['trainer.max_steps=4','seed=2']]"


@contextmanager
def composed(*words):
    """The configuration of a command line, as a job of Hydra has it."""
    register_resolvers()
    known = HydraConfig.instance().cfg
    task = ["+experiment=plain", "hardware=laptop", *words]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        whole = compose("train", [*task, "hydra.job.config_name=train"], return_hydra_config=True)
        HydraConfig.instance().set_config(whole)
        try:
            yield compose("train", task)
        finally:
            HydraConfig.instance().cfg = known


def stages(*words):
    with composed(*words) as config:
        return stages_to_run(config, deepcopy(config))


@pytest.mark.parametrize("key", ["stages", "branches"])
@pytest.mark.parametrize("value", ["5", "[5]", "[[5]]", "abc", "['seed=2']", "false"])
def test_stages_of_a_wrong_type_are_one_line(tmp_path, key, value):
    with pytest.raises(ValueError, match=rf"^{key} must be a list .* such as .*, got .*$") as caught:
        stages(f"run_folder={tmp_path}", f"{key}={value}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("minutes", ["10m", "inf", "nan", "0", "true", "[10]"])
def test_the_budget_of_a_later_stage_is_checked_before_the_first_one_trains(tmp_path, minutes):
    words = f"stages=[['minutes=1'],['minutes={minutes}']]"
    with pytest.raises(ValueError, match="minutes must be a finite number above 0, got"):
        stages(f"run_folder={tmp_path}", words)
    with pytest.raises(ValueError, match="minutes must be a finite number above 0, got"):
        stages(f"run_folder={tmp_path}", f"minutes={minutes}")


@pytest.mark.parametrize("prefix", ["", "++"])
def test_the_command_line_decides_for_every_stage(tmp_path, prefix):
    word = f"{prefix}trainer.max_steps=8"
    found = stages(f"run_folder={tmp_path}", "stages=[['minutes=1'],['minutes=2']]", word)
    assert [stage.config.trainer.max_steps for stage in found] == [8, 8]
    assert all(word in stage.overrides for stage in found)


def test_a_fine_tuning_has_no_stages(tmp_path):
    with pytest.raises(ValueError, match=r"^a fine-tuning has no stages; leave out stages, and give"):
        stages(f"run_folder={tmp_path}", STAGED, "+data.annotated=[]")


def test_a_seed_for_all_stages_is_said(tmp_path, capsys):
    stages(f"run_folder={tmp_path}", STAGED)
    assert capsys.readouterr().out == ""
    stages(f"run_folder={tmp_path}", STAGED, "seed=3")
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "seed= on the command line counts for every stage: all of them begin with the same samples"


def test_a_run_in_stages_is_resumed_in_its_own_folder(tmp_path):
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "b").mkdir()
    resume = f"resume={tmp_path / 'a'}"
    with pytest.raises(ValueError, match=r"cannot resume .*a: .* in its own folder, .*b; leave out"):
        stages(STAGED, resume, f"run_folder={tmp_path / 'b'}")
    for words in ([], [f"run_folder={tmp_path / 'b' / '..' / 'a'}"]):
        last = stages(STAGED, resume, *words)[-1]
        assert last.placed.resume is not None


def test_an_interval_of_no_step_between_validations_is_refused():
    """Lightning divides by it at the first step. It refuses an interval below 0 itself."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "accelerator": "cpu",
    }
    trainer = L.Trainer(val_check_interval=0, check_val_every_n_epoch=None, **quiet)
    with pytest.raises(ValueError, match=r"trainer.val_check_interval must be at least 1, got 0$"):
        check_trainer(trainer, Mock(spec=Training, optimizer=None))
