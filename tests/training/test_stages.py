"""A run in stages is its stages run one by one, each from the weights of the one before; it is resumed as one run."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from anystar_torch import AnyStar
from anystar_torch.training.checkpoints import averaged_weights
from tests.training.processes import Training
from tests.training.runs import TINY, assert_same_weights, contents, losses

pytestmark = pytest.mark.long  # trainings in processes of their own

BASE = [word for word in TINY if not word.startswith("trainer.max_steps=")]
STAGES = (["trainer.max_steps=6"], ["trainer.max_steps=4", "seed=2", "training.optimizer.lr=5e-4"])
BRANCHES = (["trainer.max_steps=2", "seed=3"], ["trainer.max_steps=2", "seed=4"])


def listed(stages):
    """Stages in the syntax of the command line."""
    return str([[f"'{word}'" for word in words] for words in stages]).replace('"', "").replace(" ", "")


IN_STAGES = f"stages={listed(STAGES)}"


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
    assert AnyStar.from_pretrained(folder).config.provenance.steps == 6 + 4
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


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
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


def test_a_run_is_not_resumed_in_another_folder(staged, tmp_path):
    """It would start again."""
    code, output = run(tmp_path / "run", IN_STAGES, f"resume={staged[0]}")
    assert code == 2, output
    (line,) = output.strip().splitlines()
    assert f"cannot resume {staged[0]}: a run in stages is resumed in its own folder" in line
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_the_model_of_branches_is_the_mean_of_weights(staged, tmp_path):
    """Both branches start from the second stage, whose weights count as well; then again, from the last branch."""
    folder, again = tmp_path / "run", [IN_STAGES, f"branches={listed(BRANCHES)}"]
    code, output = run(folder, *again)
    assert code == 0, output
    places = [folder / "stages" / str(number) for number in (1, 2, 3)] + [folder]
    stored = [OmegaConf.load(path / ".hydra" / "config.yaml") for path in places]
    trunk = str(places[1])
    assert [config.warm_start for config in stored] == [None, str(places[0]), trunk, trunk]
    assert [config.seed for config in stored] == [12345, 2, 3, 4]
    assert_same_weights(places[1], staged[0], exported=False)
    states = [averaged_weights(path / "checkpoints" / "last.ckpt") for path in places[1:]]
    model = load_file(folder / "model" / "weights.safetensors")
    for name, value in model.items():
        if value.is_floating_point():
            expected = np.mean([state[name].numpy() for state in states], axis=0)
            np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert AnyStar.from_pretrained(folder).config.provenance.steps == 6 + 4 + 2 + 2
    code, output = run(folder, *again, f"resume={folder}")
    assert code == 0, output
    resumed = load_file(folder / "model" / "weights.safetensors")
    assert all(torch.equal(resumed[name], value) for name, value in model.items())


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
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


def test_a_run_in_stages_is_not_resumed_without_or_with_other_stages(staged, tmp_path):
    """The model would be the last stage alone, or the mean of weights that do not belong together."""
    folder = staged[0]
    before = contents(folder)
    stored = ["--config-path", str(folder / ".hydra"), "--config-name", "config", f"hydra.run.dir={folder}"]
    cases = [
        ([*stored], "it was trained in stages, and this configuration has none"),
        (
            [*BASE, f"stages={listed([STAGES[0], ['trainer.max_steps=4', 'seed=3']])}"],
            "seed is 2 there and 3 here",
        ),
        ([*BASE, f"stages={listed(STAGES[:1])}"], "trainer.max_steps is 4 there and 6 here"),
        (
            [*BASE, IN_STAGES, f"branches={listed(BRANCHES)}"],
            "warm_start is stages/1 there and stages/2 here",
        ),
        ([*BASE, IN_STAGES, "synth.scene.objects.mean_radius=[5,6]"], "mean_radius is [12"),
    ]
    for words, message in cases:
        code, output = Training.forked(tmp_path, [*words, f"resume={folder}"]).ended()
        assert code == 2, output
        (line,) = output.strip().splitlines()
        assert message in line
        assert f"cannot resume {folder}" in line
    code, output = run(tmp_path / "new", IN_STAGES, f"run_folder={folder}")
    assert code == 2, output
    assert f"{folder} holds an earlier training" in output
    assert contents(folder) == before


def test_what_cannot_be_is_one_line(tmp_path):
    for words, message in (
        ([IN_STAGES, f"resume={tmp_path / 'run'}"], "cannot resume"),
        (["stages=[5]"], "stages must be a list"),
        (["stages=[['minutes=1'],['minutes=10m']]"], "minutes must be a finite number above 0, got '10m'"),
        (["stages=[['trainer.max_stepz=3']]"], "Could not override 'trainer.max_stepz'"),
    ):
        code, output = run(tmp_path / "run", *words)
        assert code == 2, output
        (line,) = output.strip().splitlines()
        assert message in line
