"""The output and error stream of the process."""

import sys
from io import TextIOWrapper


def show_all_names() -> None:
    """Write characters that a stream cannot hold as backslash escapes, from now on.

    Names of files may hold any character. Without this, printing one can end the program: on Windows a stream that is
    a file or a pipe holds the characters of one language only.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
