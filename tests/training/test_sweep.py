"""``anystar train -m``: jobs in folders of their own, equal to single runs; a failing job does not hide the others."""

import json

import pytest

from tests.training.processes import Training
from tests.training.runs import TINY, assert_same_weights, losses, run

pytestmark = pytest.mark.long  # trainings in processes of their own

SWEEP = ["-m", "callbacks.checkpoint.every_n_steps=0,5", "seed=1,12345"]
"""Four jobs, the last override first: two that are refused, then two that train."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "run"
    code, output = run(folder, *SWEEP, "hydra.sweep.subdir=job${hydra:job.num}")
    return folder, code, output


def test_jobs_have_folders_of_their_own(sweep):
    folder, _, output = sweep
    for job, seed in ((2, 1), (3, 12345)):
        provenance = json.loads((folder / f"job{job}" / "model" / "config.json").read_text())["provenance"]
        assert provenance["seed"] == seed, output
        assert (folder / f"job{job}" / ".hydra" / "config.yaml").is_file()
    assert {path.name for path in folder.iterdir()} == {"job0", "job1", "job2", "job3", "multirun.yaml"}
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_a_job_is_the_run_that_it_would_be_alone(sweep, whole):
    assert losses(sweep[0] / "job3") == losses(whole[0])
    assert_same_weights(sweep[0] / "job3", whole[0])


def test_jobs_that_fail_say_so_and_give_the_exit_status(sweep):
    folder, code, output = sweep
    assert code == 2, output
    for job in (0, 1):
        assert f"job {job}: callbacks.checkpoint.every_n_steps must be at least 1, got 0" in output
        assert not (folder / f"job{job}" / ".hydra").exists()
    assert "Traceback" not in output


@pytest.mark.slow
def test_jobs_run_at_the_same_time_with_a_launcher_plugin(tmp_path):
    """Each job in a process of its own; the status is that of the job that failed, and the other one trains."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    folder = tmp_path / "run"
    words = [*TINY, f"run_folder={folder}", "-m", "callbacks.checkpoint.every_n_steps=0,5", *launcher]
    code, output = Training.started(tmp_path, words).ended()
    assert code == 2, output
    assert "job 0: callbacks.checkpoint.every_n_steps must be at least 1, got 0" in output
    assert "Traceback" not in output
    assert losses(folder / "1").keys() == set(range(12))
    assert (folder / "1" / "model" / "config.json").is_file()
