"""Errors and notes of the library as lines of the command line."""

import re
from collections.abc import Iterable

import typer

#: Arguments of the library that its messages name, and the options that set them.
OPTIONS = {
    "authors": "--author",
    "axes": "--axes",
    "channel": "--channel",
    "compiled": "--no-compile",
    "diameter": "--diameter",
    "frame": "--frame",
    "license_id": "--license",
    "max_memory": "--max-memory",
    "nms_thresh": "--nms-thresh",
    "normalisation": "--normalisation",
    "overwrite": "--overwrite",
    "prob_thresh": "--prob-thresh",
    "scene": "--scene",
    "spacing": "--spacing",
}


def with_options(line: str, parameters: Iterable[str] = OPTIONS) -> str:
    """The line with the options of the arguments that it names: "raise max_memory (option: --max-memory)".

    Args:
        line: a message of the library.
        parameters: names of the parameters that the command has.
    """
    offered = [
        option
        for name, option in OPTIONS.items()
        # not within a path, a file's name or a longer word, and not where the line names the option itself
        if name in parameters
        and re.search(rf"(?<![\w/.-]){name}(?![\w/-]|\.\w)", line)
        and option not in line
    ]
    return f"{line} (option{'s' * (len(offered) > 1)}: {', '.join(offered)})" if offered else line


def line_of(error: BaseException) -> str:
    """One line for an error: its message, and the class of an error that is not expected.

    Args:
        error: that a command raised.
    """
    from anystar_torch.system.errors import last_line

    if isinstance(error, typer.Abort):
        return "aborted"
    if hasattr(error, "format_message"):  # usage errors of the command-line library
        return f"{' '.join(error.format_message().split())} (see anystar --help)"
    if _out_of_memory(error):
        return "out of memory; lower max_memory, or give a smaller volume"
    if isinstance(error, (ValueError, TypeError, ImportError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"{error.strerror or last_line(error)}{f': {error.filename}' if error.filename else ''}"
    return f"unexpected {type(error).__name__}: {last_line(error)} (ANYSTAR_DEBUG=1 shows where)"


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch or a GPU library had no memory left."""
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate" in text
