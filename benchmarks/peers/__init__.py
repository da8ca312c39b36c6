"""Programs that run in a process of their own, most of them in another environment: StarDist, or another commit."""

import json
import os
import site
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Peer:
    """A process that answers requests: one of the programs of this folder.

    Args:
        program: name of the file, without ``.py``.
        case: settings of the program, anything that JSON can hold.
        python: interpreter; None for this one.
        threads: of OpenMP in the process.
        tree: folder of another tree of this repository whose ``anystar_torch`` the program imports.

    Raises:
        SystemExit: the program did not start.
    """

    def __init__(
        self,
        program: str,
        case: Any,
        *,
        python: str | None = None,
        threads: int = 1,
        tree: Path | None = None,
    ) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python or sys.executable]
        if tree is not None:  # -S: the finder of an editable install would come before PYTHONPATH
            command.append("-S")
            environment["PYTHONPATH"] = os.pathsep.join([str(tree), *_installed()])
        elif python is None:
            environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
        self._process = subprocess.Popen(
            [*command, str(HERE / f"{program}.py"), json.dumps(case)],
            env=environment,
            cwd=tree,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer("READY")

    def ask(self, request: Any = None) -> Any:
        """The program's answer.

        Raises:
            SystemExit: the program ended.
        """
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._answer("ANSWER"))

    def _answer(self, mark: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(mark):
                return line.removeprefix(mark)
        self.close()
        raise SystemExit(f"{self._process.args} ended with exit status {self._process.returncode}")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()


def _installed() -> list[str]:
    """The folders of installed packages that this process imports from."""
    return [
        path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")
    ] or site.getsitepackages()
