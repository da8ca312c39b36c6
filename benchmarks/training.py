"""A training step beside StarDist's in TensorFlow: time, memory, and their growth with batch and volume.

    python -m benchmarks.training                                  this package, and StarDist's stored figures
    python -m benchmarks.training --peer-python PEER/bin/python    both sides, measured in turn
    python -m benchmarks.training --quick                          batch 2 of 64^3 only
    python -m benchmarks.training --plot training.png --json training.json

StarDist's networks need TensorFlow, which needs an environment of its own:

    python3.11 -m venv PEER && PEER/bin/pip install tensorflow-cpu stardist

A step is everything between two batches: forward, loss, backward, Adam, and in this package the average of the
weights. Every figure comes from a process of its own on the same number of threads. The two sides take turns, and both
have the same network (AnyStar's, or depth 3 with 16 filters on grid 2), batch and volume. This package is measured in
the precision that the recipe takes on this CPU and in float32, StarDist in float32. Times are medians after a warm-up
step. Memory is the peak of the process, in this package with synthesis. The share of synthesis includes the targets.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from anystar_torch.configuration.resolvers import cpu_precision
from benchmarks.peers import Peer
from benchmarks.report import begin, parser
from benchmarks.timing import Timing

Result = dict[str, Any]

#: (network, batch, size) -> seconds, gigabytes: StarDist 0.9.2 on TensorFlow 2.21, two threads of another machine.
STORED = {
    ("anystar", 1, 64): (13.5, 5.2),
    ("anystar", 2, 64): (23.8, 6.8),
    ("small", 1, 64): (1.82, 2.0),
    ("small", 2, 64): (2.66, 2.1),
}
GROWTH = {
    "anystar": [(1, 64), (4, 64), (2, 32), (1, 96)],
    "small": [(1, 64), (4, 64), (8, 64), (1, 96), (1, 128)],
}


def measured(case: Result, peer_python: str | None) -> Result | None:
    """A case in a process of its own; None if that failed, for example out of memory."""
    stardist = case["side"] == "StarDist"
    try:
        with Peer(
            "stardist_training" if stardist else "training",
            case,
            python=peer_python if stardist else None,
            threads=case["threads"],
        ) as peer:
            return case | peer.ask()
    except SystemExit as error:
        print(error, file=sys.stderr)
        return None


def cases(arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """(network, batch, size) of every row: batch 2 of 64^3 first, then other batches and sizes."""
    chosen = []
    for network in arguments.networks:
        chosen += [(network, *row) for row in [(2, 64), *(() if arguments.quick else GROWTH[network])]]
    return chosen


def run(arguments: argparse.Namespace, precision: str) -> list[Result]:
    """Every case on every side, the sides in turn."""
    sides = [("anystar_torch", p) for p in dict.fromkeys([precision, "32-true"])]
    if arguments.peer_python:
        sides.insert(0, ("StarDist", "32-true"))
    results = []
    for network, batch, size in cases(arguments):
        for side, chosen in sides:
            case = {
                "side": side,
                "network": network,
                "batch": batch,
                "size": size,
                "precision": chosen,
                "threads": arguments.threads,
                "repeats": arguments.repeats,
            }
            print(f"measuring {side}, {network}, batch {batch}, {size}^3, {chosen}", file=sys.stderr)
            results.append(measured(case, arguments.peer_python))
        if not arguments.peer_python and (network, batch, size) in STORED:
            seconds, gigabytes = STORED[network, batch, size]
            results.append(
                {
                    "side": "StarDist (stored)",
                    "network": network,
                    "batch": batch,
                    "size": size,
                    "precision": "32-true",
                    "walls": [seconds],
                    "cpus": [],
                    "gigabytes": gigabytes,
                }
            )
    return [result for result in results if result is not None]


def rows(results: list[Result]) -> list[Result]:
    """A row per case and side; how many times faster than StarDist's, and the share of synthesis."""
    order = [(network, *row) for network, growth in GROWTH.items() for row in [(2, 64), *growth]]
    key = lambda r: (order.index((r["network"], r["batch"], r["size"])), r["side"] == "anystar_torch")  # noqa: E731
    return [row(result, results) for result in sorted(results, key=key)]


def row(result: Result, results: list[Result]) -> Result:
    """The figures of one case."""
    wall = Timing.of(result["walls"])
    peers = [
        Timing.of(other["walls"]).median
        for other in results
        if other["side"] != "anystar_torch"
        and all(other[k] == result[k] for k in ("network", "batch", "size"))
    ]
    return {
        "network": result["network"],
        "batch": result["batch"],
        "size": f"{result['size']}^3",
        "side": result["side"],
        "precision": result["precision"],
        "s per step": str(wall),
        "CPU s": statistics.median(result["cpus"]) if result["cpus"] else "",
        "peak GB": result["gigabytes"],
        "faster": f"{peers[0] / wall.median:.2f} x" if peers and result["side"] == "anystar_torch" else "",
        "synthesis": share(result),
    }


def share(result: dict[str, Any]) -> str:
    """Synthesis and targets, % of the step with them."""
    if "synthesis" not in result:
        return ""
    synthesis = statistics.mean(result["synthesis"])  # samples differ in what they draw
    return f"{100 * synthesis / (synthesis + statistics.median(result['walls'])):.0f} %"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds and gigabytes against batch and volume, a line per side and precision."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(r["network"] for r in results))
    figure = Figure((13, 3.6 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 4, squeeze=False)
    for row, network in zip(axes, networks, strict=True):
        for column, (panel, over) in enumerate(zip(row, ("batch", "batch", "size", "size"), strict=True)):
            memory = column % 2 == 1
            for line in dict.fromkeys((r["side"], r["precision"]) for r in results):
                chosen = sorted(
                    (r[over], r["gigabytes"] if memory else statistics.median(r["walls"]))
                    for r in results
                    if (r["network"], r["side"], r["precision"]) == (network, *line)
                    and (r["size"] == 64 if over == "batch" else r["batch"] == 1)
                )
                if chosen:
                    panel.plot(*zip(*chosen, strict=True), "o-", label=", ".join(line))
            panel.set_xlabel("batch of 64^3" if over == "batch" else "side of the volume, batch 1")
            panel.set_ylabel("peak GB" if memory else "s per step")
            panel.set_title(network)
            panel.set_ylim(bottom=0)
            if panel.lines:
                panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    options_of = parser(__doc__, repeats=5)
    options_of.add_argument(
        "--peer-python", help="interpreter of an environment with TensorFlow and StarDist"
    )
    options_of.add_argument(
        "--networks", nargs="+", default=["anystar", "small"], choices=["anystar", "small"]
    )
    options_of.add_argument("--quick", action="store_true", help="batch 2 of 64^3 only")
    options_of.add_argument("--plot", type=Path, help="picture of time and memory")
    options = options_of.parse_args()
    report = begin(options)
    results = run(options, cpu_precision())
    stored = (
        "" if options.peer_python else "; StarDist's rows are stored figures of another machine, two threads"
    )
    report.table(f"training steps, {options.threads} threads{stored}", rows(results))
    report.table("all measurements", results, show=False)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
