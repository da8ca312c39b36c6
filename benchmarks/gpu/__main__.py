"""The GPU path on this machine: agreement with the CPU, throughput, training steps, prediction, memory.

    python -m benchmarks.gpu [--out outputs/gpu] [--seconds 300] [--sections agreement throughput ...] [--smoke]

Every section runs in a process of its own with a time limit, so a failure loses only the rest of its section. Figures
are printed as they are measured. OUT/gpu.json and OUT/gpu.md are written at the start, and again after each figure.
With --smoke all sections are rehearsed on the CPU with tiny sizes: the figures mean nothing, and an error is exit
status 1.
``benchmarks/gpu.sh`` also installs, builds, tests and, if asked, trains.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.header import ROOT, Header
from benchmarks.report import figure, markdown

# Section -> its share of the time, in the order in which they run.
SECTIONS = {
    "agreement": 0.16,
    "operators": 0.10,
    "throughput": 0.28,
    "training": 0.24,
    "prediction": 0.12,
    "profile": 0.10,
}
ROW = "ROW "
SHARE = 0.9  # of a section's time in which measurements begin; the last one ends in the rest
REHEARSAL = 600.0  # seconds for each section of a rehearsal: errors count there, not time


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all sections together")
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--smoke", action="store_true", help="on the CPU with tiny sizes")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.section:
        section(arguments.section, arguments.smoke)
        return
    results = Results(arguments.out, header(arguments.smoke))
    shares = sum(SECTIONS[name] for name in arguments.sections)
    for name in arguments.sections:
        limit = REHEARSAL if arguments.smoke else arguments.seconds * SECTIONS[name] / shares
        results.run(name, limit, arguments.smoke)
    results.write()
    print(f"\n{results.table()}\n\nwritten: {arguments.out / 'gpu.json'} and gpu.md", flush=True)
    failed = [row["name"] for row in results.rows if "error" in row]
    if failed:
        print(f"{len(failed)} of {len(results.rows)} rows have an error", flush=True)
    if failed and arguments.smoke:
        sys.exit(1)


# ---- the process that collects ------------------------------------------------------------------


class Results:
    """The figures measured, and the files they are written to, at once and after each figure.

    Args:
        folder: where ``gpu.json`` and ``gpu.md`` go.
        header: hardware, versions and commit.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        print(header, flush=True)
        self.write()

    def run(self, name: str, seconds: float, smoke: bool) -> None:
        """Run a section in a process of its own, for at most ``seconds``, and keep its rows."""
        print(f"\n== {name} (at most {seconds:.0f} s)", flush=True)
        command = [sys.executable, "-m", "benchmarks.gpu", "--section", name]
        began = time.perf_counter()
        process = subprocess.Popen(
            command + ["--smoke"] * smoke,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "GPU_UNTIL": str(time.time() + SHARE * seconds)},
        )
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        for line in _lines(process):
            if line.startswith(ROW):
                self.add(json.loads(line.removeprefix(ROW)))
            else:
                print("  |", line, flush=True)
        limit.cancel()
        status, taken = process.wait(), time.perf_counter() - began
        if status:
            reason = "stopped at its time limit" if taken >= seconds else f"ended with exit status {status}"
            self.add({"section": name, "name": name, "error": reason})
        print(f"  {taken:.1f} s", flush=True)

    def add(self, row: dict[str, Any]) -> None:
        """Print a row, keep it, and write the files."""
        self.rows.append(row)
        print(" ", _cell(row), flush=True)
        self.write()

    def write(self) -> None:
        """Write both files. They are whole at any time: the process may be stopped."""
        content = json.dumps({"header": self.header.as_dict(), "rows": self.rows}, indent=1)
        for name, text in (("gpu.json", content), ("gpu.md", self.table() + "\n")):
            part = self.folder / f"{name}.part"
            part.write_text(text)
            part.replace(self.folder / name)

    def table(self) -> str:
        """All rows, a table for each section."""
        lines = [str(self.header)]
        for name in dict.fromkeys(row["section"] for row in self.rows):
            rows = [row for row in self.rows if row["section"] == name]
            lines += ["", markdown({name: row["name"]} | measured(row) for row in rows)]
        return "\n".join(lines)


def measured(row: dict[str, Any]) -> dict[str, Any]:
    """The figures of a row."""
    return {name: value for name, value in row.items() if name not in ("section", "name")}


def _lines(process: Any) -> Iterator[str]:
    for line in process.stdout:
        yield line.rstrip("\n")


def _cell(row: dict[str, Any]) -> str:
    return f"{row['name']}: " + ", ".join(f"{name} {figure(value)}" for name, value in measured(row).items())


def header(smoke: bool) -> Header:
    """What the figures are measured on."""
    import torch

    return Header.now(packages=("triton", "lightning"), gpu=torch.cuda.is_available() and not smoke)


# ---- the process of a section -------------------------------------------------------------------


def section(name: str, smoke: bool) -> None:
    """Measure one section, and print its rows to the standard output."""
    from benchmarks.gpu import sections, training
    from benchmarks.gpu.bench import Bench

    until = float(os.environ.get("GPU_UNTIL", time.time() + 60))
    # the imports above take part of the time
    bench = Bench(name, smoke=smoke, seconds=until - time.time())
    {**sections.SECTIONS, "training": training.training}[name](bench)


if __name__ == "__main__":
    main()
