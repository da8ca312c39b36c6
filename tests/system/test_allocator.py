"""Freed memory is used again: no page is fetched from the system twice."""

import os
import subprocess
import sys

import pytest

from anystar_torch.system.allocator import variables_of_workers

PAGES = """
import resource, torch
from anystar_torch.system.allocator import keep_freed_memory
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


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_was_freed_is_not_fetched_again() -> None:
    assert pages(keep=True) < 0.25 * pages(keep=False)  # the heap may still grow once or twice


MAPPED = """
import torch
from anystar_torch.system.allocator import return_freed_memory
if {give}:
    assert return_freed_memory()
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
large = [torch.ones(7 << 20) for _ in range(2)]  # 28 MB each: glibc now keeps blocks of this size in its heap
del large
before = held()
blocks = [torch.ones(2 << 20) for _ in range(40)]  # 8 MB each
last = blocks.pop()
del blocks
print(held() - before)
"""


def held_after_freeing(give: bool) -> int:
    """Bytes that a process holds beyond its one block after it freed 39 blocks below that block."""
    done = subprocess.run(
        [sys.executable, "-c", MAPPED.format(give=give)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_was_freed_is_given_back() -> None:
    assert held_after_freeing(give=True) < 32 << 20
    assert held_after_freeing(give=False) > 200 << 20  # what it is for


STEPS = """
import resource, torch
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return (torch.ones(2_000_000) + 1).sum().item()  # twice 8 MB
step()
before = pages()
for _ in range(20):
    step()
small = pages() - before
before = int(open("/proc/self/statm").read().split()[1])
large = torch.ones(20_000_000)  # 80 MB
del large
print(small, int(open("/proc/self/statm").read().split()[1]) - before)
"""


def pages_of_worker(variables: dict[str, str]) -> list[int]:
    """Page faults of twenty steps with small blocks, and pages that a freed large block leaves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, env=environment | variables
    )
    return list(map(int, done.stdout.split()))


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_workers_keep_small_blocks_only() -> None:
    small, left = pages_of_worker(variables_of_workers())
    assert left < 1000
    assert small < 0.25 * pages_of_worker({"MALLOC_TRIM_THRESHOLD_": "65536"})[0]  # Dask's setting
