"""A run in stages is its stages run one by one, each from the weights of the one before; it is resumed as one run."""

import signal
import time

import pytest
from omegaconf import OmegaConf

from tests.training.processes import Training
from tests.training.runs import TINY, assert_same_weights, losses

pytestmark = pytest.mark.long  # trainings in processes of their own

BASE = [word for word in TINY if not word.startswith("trainer.max_steps=")]
STAGES = (["trainer.max_steps=6"], ["trainer.max_steps=4", "seed=2", "training.optimizer.lr=5e-4"])
IN_STAGES = "stages=" + str([[f"'{word}'" for word in words] for words in STAGES]).replace('"', "").replace(
    " ", ""
)


def run(folder, *overrides):
    return Training.forked(folder.parent, [*BASE, f"run_folder={folder}", *overrides]).ended()


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged") / "run"
    code, output = run(folder, IN_STAGES)
    assert code == 0, output
    return folder, output


def test_stages_have_folders_and_the_run_one_model(staged):
    folder, output = staged
    first = folder / "stages" / "1"
    assert (max(losses(first)), max(losses(folder))) == (5, 3)
    assert [path.parent for path in folder.rglob("weights.safetensors")] == [folder / "model"]
    assert output.count("real volume") + output.count("picture:") == 1, "one report"
    stored = [OmegaConf.load(path / ".hydra" / "config.yaml") for path in (first, folder)]
    assert [config.seed for config in stored] == [12345, 2]
    assert [config.stages for config in stored] == [[], []]
    assert [config.warm_start for config in stored] == [None, str(first)]


def test_a_stage_is_the_run_with_its_overrides(staged, tmp_path):
    """The second one starts from the folder of the first, which has no model."""
    folder, _ = staged
    words = [*STAGES[1], f"warm_start={folder / 'stages' / '1'}"]
    code, output = run(tmp_path / "run", *words)
    assert code == 0, output
    assert losses(tmp_path / "run") == losses(folder)
    assert_same_weights(tmp_path / "run", folder)


def test_a_run_is_resumed_in_the_stage_where_it_was_stopped(staged, tmp_path):
    """Killed after the first checkpoint of the first stage; then once more, when it is complete."""
    folder, again = staged[0], tmp_path / "run"
    process = Training.forked(tmp_path, [*BASE, IN_STAGES, f"run_folder={again}"])
    while not (again / "stages" / "1" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.ended()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.ended()
    code, output = run(again, IN_STAGES, f"resume={again}")
    assert code == 0, output
    assert_same_weights(again / "stages" / "1", folder / "stages" / "1", exported=False)
    assert_same_weights(again, folder)
    code, output = run(again, IN_STAGES, f"resume={again}")
    assert code == 0, output
    assert "stage 1 of 2" not in output, "a complete stage is left out"
    assert_same_weights(again, folder)


def test_a_signal_stops_the_run_in_its_stage(tmp_path):
    folder = tmp_path / "run"
    process = Training.forked(
        tmp_path, [*BASE, "stages=[['trainer.max_steps=500'],['seed=2']]", f"run_folder={folder}"]
    )
    while not list((folder / "stages").rglob("metrics.csv")):
        assert process.poll() is None, process.ended()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, output = process.ended()
    assert code == 130, output
    assert f"stopped in stage 1 of 2; to resume it, repeat the command with resume={folder}" in output
    assert not (folder / "checkpoints").exists()


def test_what_cannot_be_is_one_line(tmp_path):
    for words, message in (
        ([IN_STAGES, f"resume={tmp_path}"], "cannot resume"),
        (["stages=[['trainer.max_stepz=3']]"], "Could not override 'trainer.max_stepz'"),
    ):
        code, output = run(tmp_path / "run", *words)
        assert code == 2, output
        (line,) = output.strip().splitlines()
        assert message in line
