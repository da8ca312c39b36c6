"""Freed memory is used again: no page is fetched from the system twice."""

import subprocess
import sys

import pytest

PAGES = """
import resource, torch
from anystar_torch.heap import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return (torch.ones(12_000_000) + 1).sum().item()  # twice 48 MB
for _ in range(5):
    step()
before = pages()
for _ in range(40):
    step()
print(pages() - before)
"""


def pages(keep: bool) -> int:
    """Page faults of forty steps that allocate a hundred megabytes each, after five."""
    done = subprocess.run(
        [sys.executable, "-c", PAGES.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_was_freed_is_not_fetched_again() -> None:
    assert pages(keep=True) < 0.25 * pages(keep=False)  # the heap may still grow once or twice
