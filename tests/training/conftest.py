"""The training that other trainings are compared with."""

import pytest

from tests.training.processes import Training
from tests.training.runs import TINY


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Folder and output of a run that nobody interrupts, started as a user does."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, output = Training.started(folder.parent, [*TINY, f"run_folder={folder}"]).ended()
    assert code == 0, output
    return folder, output
