"""Time and memory of synthesis: per part of the generator, by size, by batch.

    python -m benchmarks.synthesis [--threads 2] [--repeats 5] [--picture synthesis.png]
    python -m benchmarks.synthesis --quick                                a few samples: under a minute
    python -m benchmarks.synthesis --against COMMIT [--synths mix zero_shot] [--repeats 12]

Samples of 64^3 are measured with their targets (grid 2, 96 rays) at a batch of 4. Then follow the time and the memory
(Linux) of every part of the generator, the growth with size and batch, and the peak memory of a batch of 16. The first
figure is the least of the repeats; sizes and batches are means over the same samples. With --against only samples with
targets are measured, of this tree and of another commit in turn.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from benchmarks.against import compare
from benchmarks.header import ROOT
from benchmarks.report import Report, begin, parser

RAYS = Rays.golden_spiral(96)


class Clock:
    """Seconds spent in each part itself, not in the parts it calls."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self._inner = [0.0]

    def run(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call ``function`` and count its own time under ``name``."""
        self._inner.append(0.0)
        began = time.perf_counter()
        result = function(*arguments, **named)
        taken = time.perf_counter() - began
        self.own[name] += taken - self._inner.pop()
        self._inner[-1] += taken
        return result


class Memory:
    """Bytes that each part, with the parts it calls, adds at its peak to what the process held before."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._peaks = [0]

    def run(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call ``function`` and store the largest amount it added under ``name``."""
        self._note()
        before = _status("VmRSS")
        self._peaks.append(before)
        result = function(*arguments, **named)
        self._note()
        peak = self._peaks.pop()
        self.most[name] = max(self.most[name], peak - before)
        self._peaks[-1] = max(self._peaks[-1], peak)
        return result

    def _note(self) -> None:
        """Add the peak since the last reset to the part that runs, and reset it."""
        self._peaks[-1] = max(self._peaks[-1], _status("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    """A field of Linux's status of this process, in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])


class Timed:
    """A part of the generator whose time or memory is measured."""

    def __init__(self, part: Any, name: str, clock: Clock | Memory) -> None:
        self.part, self.name, self.clock = part, name, clock

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The part's own result."""
        return self.clock.run(self.name, self.part, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)


def measured(part: Any, name: str, clock: Clock | Memory) -> Any:
    """The part and all parts inside of it, wrapped so that they are measured."""
    changes = {}
    for field in fields(part):
        value = getattr(part, field.name)
        path = f"{name}.{field.name}".removeprefix(".")
        if isinstance(value, dict):
            changes[field.name] = {
                k: measured(v, k, clock) if is_dataclass(v) else v for k, v in value.items()
            }
        elif is_dataclass(value):
            changes[field.name] = measured(value, path, clock)
    part = replace(part, **changes) if changes else part
    return Timed(part, name, clock) if callable(part) and not isinstance(part, Synthesizer) else part


def finished(synth: Synthesizer, ids: torch.Tensor, clock: Clock | Memory | None = None) -> None:
    """Samples with their targets, as a training step needs them."""
    clock = clock or Clock()
    sample = clock.run("synthesizer (pieces, last interpolation)", synth, ids)
    clock.run("targets: probability", object_probability, sample.labels, (2, 2, 2))
    clock.run("targets: distances", star_distances, sample.labels, RAYS, (2, 2, 2))


def seconds(synth: Synthesizer, batch: int, repeats: int) -> tuple[float, float]:
    """Least wall and CPU seconds per sample, targets included."""
    walls, cpus = [], []
    for repeat in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        finished(synth, torch.arange(batch) + repeat * batch)
        walls.append((time.perf_counter() - wall) / batch)
        cpus.append((time.process_time() - cpu) / batch)
    return min(walls[1:]), min(cpus[1:])


def mean_seconds(synth: Synthesizer, batch: int, samples: int) -> tuple[float, float]:
    """Mean wall and CPU seconds per sample, over the same ids for every size of the batch."""
    finished(synth, torch.arange(batch))
    wall, cpu = time.perf_counter(), time.process_time()
    for ids in torch.split(torch.arange(samples), batch):
        finished(synth, ids)
    return (time.perf_counter() - wall) / samples, (time.process_time() - cpu) / samples


def per_part(repeats: int) -> list[tuple[str, float]]:
    """Milliseconds per sample of every part, largest first, on average over other samples each time."""
    clock = Clock()
    synth = measured(load_synthesizer("mix"), "", clock)
    finished(synth, torch.arange(4))
    clock.own.clear()
    for repeat in range(repeats):
        finished(synth, torch.arange(4) + 4 * repeat, clock)
    return [(name, 1e3 * taken / repeats / 4) for name, taken in clock.own.most_common()]


def memory_per_part(batch: int = 4) -> dict[str, float]:
    """Megabytes per sample that every part adds at its peak, in a process that returns freed memory at once."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    script = (
        "import json, torch; from benchmarks import synthesis as s\n"
        "memory = s.Memory(); synth = s.measured(s.load_synthesizer('mix'), '', memory)\n"
        f"s.finished(synth, torch.arange({batch})); memory.most.clear()\n"
        f"for k in range(1, 4): s.finished(synth, torch.arange({batch}) + {batch} * k, memory)\n"
        "print(json.dumps(memory.most))"
    )
    # Every tensor is a block of its own, which is returned to the system at once.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    return {name: taken / 2**20 / batch for name, taken in json.loads(run.stdout).items()}


def peak_memory(batch: int) -> float:
    """Gigabytes that a batch of 64^3 with targets adds to a process that has everything loaded."""
    script = (
        "import torch; from benchmarks import synthesis as s\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "synth = s.load_synthesizer('mix'); small = s.load_synthesizer('mix', shape=(16, 16, 16))\n"
        "s.finished(small, torch.arange(1)); before = peak()\n"
        f"s.finished(synth, torch.arange({batch})); print((peak() - before) / 2**20)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(run.stdout)


def plot(
    parts: list[tuple[str, float]], memory: dict[str, float], sizes: dict[int, float], path: Path
) -> None:
    """Bars of time and memory per part, and time by size beside a line that is linear in voxels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 5), gridspec_kw={"width_ratios": [2, 1, 1]}
    )
    shown = parts[:20][::-1]
    left.barh([name for name, _ in shown], [taken for _, taken in shown], color="0.4")
    left.set_xlabel("ms per 64³ sample")
    middle.barh([name for name, _ in shown], [memory.get(name, 0.0) for name, _ in shown], color="0.4")
    middle.set_xlabel("MB per 64³ sample, its parts included")
    middle.set_yticks([])
    voxels = [n**3 for n in sizes]
    right.loglog(voxels, list(sizes.values()), "o-", color="black")
    right.loglog(voxels, [sizes[64] * v / 64**3 for v in voxels], ":", color="0.5")
    right.set_xlabel("voxels")
    right.set_ylabel("s per sample (dotted: linear)")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def table_of_parts(report: Report, parts: list[tuple[str, float]], memory: dict[str, float]) -> None:
    """Time and memory of the parts that take at least 0.05 ms per sample."""
    total = sum(taken for _, taken in parts)
    report.table(
        "parts of the generator",
        [
            {
                "part": name,
                "ms per sample": taken,
                "share": f"{taken / total:.0%}",
                "MB per sample, its parts included": memory.get(name),
            }
            for name, taken in parts
            if taken >= 0.05
        ],
    )


def one_generator(report: Report, repeats: int, picture: Path | None, quick: bool) -> None:
    """Everything about the generator ``mix``."""
    sizes, batches, samples = ((32, 64), (1, 4), 4) if quick else ((32, 64, 96, 128), (1, 2, 4, 8, 16), 16)
    wall, cpu = seconds(load_synthesizer("mix"), 4, repeats)
    report.table(
        "a sample of 64^3 with targets, batch 4: the least of the repeats",
        [{"generator": "mix", "wall s per sample": wall, "CPU s per sample": cpu}],
    )
    parts, memory = per_part(repeats), memory_per_part()
    table_of_parts(report, parts, memory)
    taken = {n: mean_seconds(load_synthesizer("mix", shape=(n, n, n)), 1, samples // 2) for n in sizes}
    report.table(
        "size of the sample",
        [
            {
                "size": f"{n}^3",
                "s per sample": wall,
                "CPU s per sample": cpu,
                "CPU us per voxel": 1e6 * cpu / n**3,
            }
            for n, (wall, cpu) in taken.items()
        ],
    )
    rows = []
    for batch in batches:
        wall, cpu = mean_seconds(load_synthesizer("mix"), batch, samples)
        rows.append({"batch": batch, "s per sample": wall, "CPU s per sample": cpu})
    report.table("size of the batch", rows)
    report.table("memory", [{"batch": batches[-1], "peak GB": peak_memory(batches[-1])}])
    if picture:
        plot(parts, memory, {n: wall for n, (wall, _) in taken.items()}, picture)


def main() -> None:
    options_of = parser(__doc__, repeats=5)
    options_of.add_argument("--quick", action="store_true", help="fewer sizes and samples")
    options_of.add_argument("--picture", type=Path)
    options_of.add_argument("--against", metavar="COMMIT", help="measure this tree and that commit in turn")
    options_of.add_argument(
        "--synths", nargs="+", default=["mix", "zero_shot"], help="generators for --against"
    )
    options = options_of.parse_args()
    report = begin(options)
    if options.against:
        compare(options.against, options.synths, options.threads, options.repeats, report)
    else:
        one_generator(report, options.repeats, options.picture, options.quick)


if __name__ == "__main__":
    main()
