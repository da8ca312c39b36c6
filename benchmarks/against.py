"""Samples with targets of this tree beside those of another commit, measured in turn in one run.

Run by ``python -m benchmarks.synthesis --against COMMIT``. The other commit is checked out into a temporary folder, and
its native module is built there. Each tree works in a process of its own. The two take turns, batch by batch, on the
same sample ids, so that another load on the machine meets both.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.header import ROOT
from benchmarks.peers import Peer
from benchmarks.report import Report
from benchmarks.timing import Timing

BATCH, RAYS, GRID = 4, 96, 2
Figures = list[dict[str, Any]]


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
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")


def in_turn(trees: tuple[Path, Path], synth: str, threads: int, rounds: int) -> tuple[Figures, Figures]:
    """Figures of ``rounds`` batches of each tree; the one that begins alternates too."""
    figures: tuple[Figures, Figures] = ([], [])
    with contextlib.ExitStack() as stack:
        peers = [
            stack.enter_context(Peer("samples", settings(tree, synth, threads), threads=threads, tree=tree))
            for tree in trees
        ]
        for number in range(rounds + 1):
            for which in (0, 1) if number % 2 else (1, 0):
                figures[which].append(peers[which].ask(number * BATCH))
    return figures[0][1:], figures[1][1:]  # a first batch warms up


def settings(tree: Path, synth: str, threads: int) -> dict[str, Any]:
    """What the process of a tree is started with."""
    return {"tree": str(tree), "synth": synth, "threads": threads, "batch": BATCH, "rays": RAYS, "grid": GRID}


def compare(commit: str, synths: list[str], threads: int, rounds: int, report: Report) -> None:
    """Measure both trees; report their figures and ratios, median (least to largest)."""
    rows: Figures = []
    with checkout(commit) as other:
        for synth in synths:
            here, there = in_turn((ROOT, other), synth, threads, rounds)
            rows += [row(synth, commit, there), row(synth, "this tree", here), ratio(synth, there, here)]
    report.table(
        f"samples of 64^3 with targets (grid {GRID}, {RAYS} rays), batch {BATCH}, {rounds} rounds; "
        "a ratio above 1: this tree is faster",
        rows,
    )


def row(synth: str, tree: str, figures: Figures) -> dict[str, Any]:
    """One tree's figures."""
    return {
        "generator": synth,
        "tree": tree,
        "wall s per sample": str(Timing.of([figure["wall"] for figure in figures])),
        "CPU s per sample": str(Timing.of([figure["cpu"] for figure in figures])),
        "peak GiB of the process": figures[-1]["peak"],
    }


def ratio(synth: str, there: Figures, here: Figures) -> dict[str, Any]:
    """Before over after, round by round."""
    wall, cpu = (
        str(Timing.of([a[kind] / b[kind] for a, b in zip(there, here, strict=True)]))
        for kind in ("wall", "cpu")
    )
    memory = here[-1]["peak"] / max(there[-1]["peak"], 1e-9)
    same = sum(a["labels"] == b["labels"] for a, b in zip(here, there, strict=True))
    return {
        "generator": synth,
        "tree": "ratio",
        "wall s per sample": wall,
        "CPU s per sample": cpu,
        "peak GiB of the process": f"{memory:.2f} x",
        "same labels": f"{same} of {len(here)} batches",
    }
