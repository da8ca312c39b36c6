"""``python train.py`` in a process of its own.

Importing what a training needs takes longer than a small training. ``Training.forked`` therefore forks a process that
has imported it already; ``Training.started`` is the command as a user runs it.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[2]  # tests.conftest would check the shapes of what the child imports

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()  # Windows has none


def train(arguments: list[str], folder: str, output: str) -> None:
    """Train in ``folder`` with the overrides ``arguments``, both streams into the file ``output``."""
    sys.stdout.flush()
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [str(ROOT / "train.py"), *arguments]
    from anystar_torch.training.main import main

    main()


class Training:
    """A training that runs.

    Attributes:
        process: of ``multiprocessing`` or of ``subprocess``.
        pid: its process.
    """

    def __init__(
        self, process: "multiprocessing.process.BaseProcess | subprocess.Popen[bytes]", output: Path
    ):
        self.process, self.pid, self._output = process, process.pid, output

    @classmethod
    def started(cls, folder: Path, arguments: list[str]) -> "Training":
        """The command in ``folder``, as a user runs it."""
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        output = output_of(folder)
        with output.open("wb") as stream:
            return cls(
                subprocess.Popen(
                    command, cwd=folder, env=ENVIRONMENT, stdout=stream, stderr=subprocess.STDOUT
                ),
                output,
            )

    @classmethod
    def forked(cls, folder: Path, arguments: list[str]) -> "Training":
        """The same, without the time to import, where the system can fork."""
        if not CAN_FORK:
            return cls.started(folder, arguments)
        from multiprocessing import forkserver

        output = output_of(folder)
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["anystar_torch.training.main"])
        with patch.dict(os.environ, ENVIRONMENT):  # the server starts with the first process
            forkserver.ensure_running()
        process = server.Process(target=train, args=(arguments, str(folder), str(output)))
        process.start()
        return cls(process, output)

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self, timeout: float = 300) -> tuple[int, str]:
        """Wait for the end.

        Returns:
            The exit status, and what the training said.
        """
        if isinstance(self.process, subprocess.Popen):
            self.process.wait(timeout)
        else:
            self.process.join(timeout)
        status = self.poll()
        assert status is not None, f"still running after {timeout} s: {self._output.read_text()}"
        return status, self._output.read_text()


def output_of(folder: Path) -> Path:
    """A file beside ``folder``, for what a training in it says."""
    return folder.parent / f"{folder.name}.output-{len(list(folder.parent.glob('*.output-*')))}"
