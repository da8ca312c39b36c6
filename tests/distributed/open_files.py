"""A low limit of the number of open files, as on machines where it is 1024 and a volume has many boxes."""

import itertools
import os
from contextlib import contextmanager

import pytest

MORE = 40  # files that can be opened


@contextmanager
def few_open_files():
    """Let this process open few more files."""
    resource = pytest.importorskip("resource", reason="this system has no limits of open files")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir("/dev/fd")}
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, MORE, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
