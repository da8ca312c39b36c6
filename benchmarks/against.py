"""Samples with targets of this tree beside those of another commit, measured in turn in one run.

Run by ``python benchmarks/synthesis.py --against COMMIT``. The other commit is checked out into a temporary folder and
its native module is built there. Each tree works in a process of its own; the two take turns, batch by batch, on the
same sample ids, so that another load on the machine meets both.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BATCH, RAYS, GRID = 4, 96, 2
# Reads the first id of a batch from each line of its input, and answers with one line of figures. Only what every
# commit has: the generator by name, and the targets of labels.
WORKER = """
import hashlib, json, sys, time
tree, name, threads, batch, rays, grid = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
# without the import hook of an editable install
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, tree)
import torch
import anystar_torch
assert anystar_torch.__file__.startswith(tree), anystar_torch.__file__
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.system.allocator import keep_freed_memory
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
torch.set_num_threads(threads)
keep_freed_memory()  # as train.py does
synthesizer, rays, grid = load_synthesizer(name), Rays.golden_spiral(rays), (grid,) * 3
print("ready", flush=True)
for line in sys.stdin:
    ids = torch.arange(batch) + int(line)
    time.sleep(0.05)  # threads of the other process have gone to sleep by then
    wall, cpu = time.perf_counter(), time.process_time()
    sample = synthesizer(ids)
    object_probability(sample.labels, grid)
    star_distances(sample.labels, rays, grid)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 0"
    peak = int(status.split("VmHWM:")[1].split()[0])
    digest = hashlib.sha256(sample.labels.numpy().tobytes()).hexdigest()
    print(json.dumps({"wall": wall / batch, "cpu": cpu / batch, "peak": peak / 2**20, "labels": digest}), flush=True)
"""


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of ``commit`` in a temporary folder, its native module built; removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _run("git", "worktree", "add", "--quiet", "--detach", str(tree), commit, cwd=ROOT)
        try:
            _run("cmake", "-S", ".", "-B", "build/dev", f"-DPython_EXECUTABLE={sys.executable}", cwd=tree)
            _run("cmake", "--build", "build/dev", cwd=tree)
            yield tree
        finally:
            _run("git", "worktree", "remove", "--force", str(tree), cwd=ROOT)


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")


class Worker:
    """A process that makes batches of one generator of one tree when it is asked to."""

    def __init__(self, tree: Path, name: str, threads: int) -> None:
        command = [sys.executable, "-c", WORKER, str(tree), name, *map(str, (threads, BATCH, RAYS, GRID))]
        self.process = subprocess.Popen(
            command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def batch(self, first: int) -> dict[str, Any]:
        """Seconds (wall, CPU) per sample, peak memory of the process in GiB, and a checksum of the labels."""
        assert self.process.stdin is not None
        print(first, file=self.process.stdin, flush=True)
        figures: dict[str, Any] = json.loads(self._line())
        return figures

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the process of a tree has ended; what it said is above")
        return line


def in_turn(trees: tuple[Path, Path], name: str, threads: int, rounds: int) -> tuple[list[Any], list[Any]]:
    """Figures of ``rounds`` batches of each tree; the one that begins alternates too."""
    workers = tuple(Worker(tree, name, threads) for tree in trees)
    figures: tuple[list[Any], list[Any]] = ([], [])
    try:
        for number in range(rounds + 1):
            for which in (0, 1) if number % 2 else (1, 0):
                figures[which].append(workers[which].batch(number * BATCH))
    finally:
        for worker in workers:
            worker.close()
    return figures[0][1:], figures[1][1:]  # a first batch warms up


def _spread(values: list[float], digits: str) -> str:
    return f"{statistics.median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def compare(commit: str, names: list[str], threads: int, rounds: int) -> None:
    """Measure and print both trees' figures and their ratios."""
    print(
        f"samples of 64^3 with targets (grid {GRID}, {RAYS} rays), batch {BATCH}, {threads} threads, {rounds} rounds"
    )
    print("\nmedian (least to largest); a ratio above 1: this tree is faster\n")
    print("| generator | tree | wall s per sample | CPU s per sample | peak GiB of the process |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with checkout(commit) as other:
        for name in names:
            here, there = in_turn((ROOT, other), name, threads, rounds)
            for tree, figures in ((commit, there), ("this tree", here)):
                wall, cpu = ([row[kind] for row in figures] for kind in ("wall", "cpu"))
                peak = figures[-1]["peak"]
                print(f"| {name} | {tree} | {_spread(wall, '.3f')} | {_spread(cpu, '.3f')} | {peak:.2f} |")
            wall, cpu = (
                [before[kind] / after[kind] for before, after in zip(there, here, strict=True)]
                for kind in ("wall", "cpu")
            )
            memory = here[-1]["peak"] / max(there[-1]["peak"], 1e-9)
            print(
                f"| {name} | ratio | {_spread(wall, '.2f')} | {_spread(cpu, '.2f')} | {memory:.2f} x the memory |"
            )
            same = sum(a["labels"] == b["labels"] for a, b in zip(here, there, strict=True))
            print(f"| {name} | | the labels are the same in {same} of {rounds} batches | | |", flush=True)
