"""The command line: ``anystar predict | relabel | evaluate | gallery | export | info``.

Commands raise ordinary errors; :func:`main` alone turns them into one line on the error stream and exit
status 2. Heavy imports stand inside the commands, so that ``anystar --help`` answers at once.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import typer

from anystar_torch.cli import evaluate, export, gallery, info, predict, relabel

app = typer.Typer(
    name="anystar",
    help="Find star-convex objects (nuclei, nodules, cells) in 3D volumes, with no training.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    predict.predict, relabel.relabel, evaluate.evaluate, gallery.gallery, export.export, info.info,
):  # fmt: skip
    app.command()(_command)

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 if all went well, 2 after one line saying what did not, 130 if interrupted.

    Set ANYSTAR_DEBUG=1 to see where an error came from.
    """
    signal.signal(signal.SIGTERM, _terminate)
    command = typer.main.get_command(app)
    try:
        result = command.main(
            args=list(sys.argv[1:] if arguments is None else arguments) or ["--help"], standalone_mode=False
        )
        status = result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except Exception as error:
        if os.environ.get("ANYSTAR_DEBUG"):
            raise
        status = _complain(line_of(error), 2)
    if status == _INTERRUPTED:  # also what the command-line library makes of Ctrl-C
        _complain("interrupted; nothing was left half-written", status)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output (head, less) has gone: not our error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def line_of(error: BaseException) -> str:
    """One line for an error: what it says, and for errors nobody foresaw also what kind it is."""
    from anystar_torch.io.scan import first_line

    if isinstance(error, typer.Abort):
        return "aborted"
    if hasattr(error, "format_message"):  # usage errors of the command-line library
        return f"{' '.join(error.format_message().split())} (see anystar --help)"
    if (
        isinstance(error, MemoryError)
        or "out of memory" in str(error).lower()
        or "can't allocate" in str(error)
    ):
        return "out of memory; lower --max-memory, or give a smaller volume"
    if isinstance(error, (ValueError, TypeError, ImportError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"{error.strerror or first_line(error)}{f': {error.filename}' if error.filename else ''}"
    return f"unexpected {type(error).__name__}: {first_line(error)} (ANYSTAR_DEBUG=1 shows where)"


def _complain(line: str, status: int) -> int:
    print(f"anystar: {line}", file=sys.stderr)
    return status


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds like Ctrl-C, so that temporary files go."""
    raise KeyboardInterrupt
