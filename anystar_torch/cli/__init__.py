"""The command line: ``anystar predict | relabel | evaluate | train | gallery | export | info``.

Commands raise ordinary errors. Only :func:`main` turns them into one line on the error stream and exit status 2.
Large libraries are imported inside the commands, so that ``anystar --help`` is fast.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import typer

from anystar_torch.cli import evaluate, export, gallery, info, predict, relabel, train
from anystar_torch.cli.messages import line_of, with_options
from anystar_torch.system.streams import show_all_names

app = typer.Typer(
    name="anystar",
    help="Segment star-convex objects (nuclei, nodules, cells) in 3D volumes, without training.",
    pretty_exceptions_enable=False,
)
app.command()(predict.predict)
app.command()(relabel.relabel)
app.command()(evaluate.evaluate)
app.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)(train.train)
app.command()(gallery.gallery)
app.command()(export.export)
app.command()(info.info)

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: status 0 after success, 2 after an error, 130 after an interrupt.

    The environment variable ANYSTAR_DEBUG=1 shows where an error was raised.

    Args:
        arguments: of the command line; None for those of the process.
    """
    signal.signal(signal.SIGTERM, _terminate)
    show_all_names()
    command = typer.main.get_command(app)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        result = command.main(args=words, standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except Exception as error:
        if os.environ.get("ANYSTAR_DEBUG"):
            raise
        chosen = getattr(command, "commands", {}).get(words[0])
        parameters = [parameter.name for parameter in chosen.params] if chosen else []
        status = _complain(with_options(line_of(error), parameters), 2)
    if status == _INTERRUPTED:  # the command-line library returns it after Ctrl-C, too
        _complain("interrupted; nothing was left half-written", status)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the program that read our output (head, less) has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _complain(line: str, status: int) -> int:
    """Print an error and return the exit status."""
    print(f"anystar: {line}", file=sys.stderr)
    return status


def _terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C, so that temporary files are removed."""
    raise KeyboardInterrupt
