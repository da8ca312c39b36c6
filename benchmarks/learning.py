"""Learning curves of training runs, and their scores on real volumes beside a classical pipeline.

    python train.py +experiment=mix hardware=laptop seed=1 trainer.max_steps=12000 run_folder=outputs/hour
    python -m benchmarks.real_volumes score --model outputs/hour --json outputs/hour/real_volumes.json
    python -m benchmarks.learning outputs/hour [outputs/seed2 ...] --plot learning.png

Curves come from the runs' CSV logs, all parts of a resumed run together. Scores on real volumes come from
``real_volumes.json`` in the run folder, if it is there. The classical pipeline (Gaussian, Otsu, distance transform,
watershed) is given the size of the objects. With several runs, for example of several seeds, the table has their mean
and range.
"""

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import begin, parser

IOUS = ("0.3", "0.5", "0.7")
GIVEN = "size given"  # title of the table of scores
SMOOTH = 20  # logged losses averaged into one point

Row = dict[str, Any]
Curve = tuple[list[int], list[float]]


def curves(run: Path) -> dict[str, Curve]:
    """Logged name -> steps and values; of steps that a resumed run repeated, the later values.

    Raises:
        SystemExit: a folder without logs.
    """
    found: dict[str, dict[int, float]] = {}
    paths = sorted((run / "csv").rglob("metrics.csv"))
    if not paths:
        raise SystemExit(f"{run} is no run folder: it has no csv/*/metrics.csv")
    for path in paths:
        with path.open() as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name not in ("step", "epoch"):
                        found.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: (sorted(values), [values[s] for s in sorted(values)]) for name, values in found.items()}


def smoothed(curve: Curve) -> Curve:
    """Means over SMOOTH neighbours, each at the last of their steps."""
    steps, values = curve
    width = min(SMOOTH, len(values))
    means = np.convolve(values, np.ones(width) / width, mode="valid")
    return steps[width - 1 :], means.tolist()


def last(run: dict[str, Curve], name: str) -> float | None:
    """The newest value of a curve; None if it was not logged."""
    return run[name][1][-1] if name in run else None


def summary(runs: dict[str, dict[str, Curve]]) -> list[Row]:
    """The end of every run; of several also the mean and the range."""
    names = ["val_loss", *(f"val_f1/{iou}" for iou in IOUS), "val_ap", "samples/s"]
    rows: list[Row] = [
        {"run": label, "steps": 1 + max(steps[-1] for steps, _ in run.values())}
        | {name: last(run, name) for name in names}
        for label, run in runs.items()
    ]
    if len(runs) > 1:
        spreads = {name: spread([last(run, name) for run in runs.values()]) for name in names}
        rows.append({"run": "mean (range)"} | spreads)
    return rows


def spread(values: list[float | None]) -> str:
    """Mean and range of the values there are."""
    there = [value for value in values if value is not None]
    return f"{statistics.mean(there):.3f} ({min(there):.3f} to {max(there):.3f})" if there else ""


def real(scores: dict[str, dict[str, Row]]) -> list[Row]:
    """F1 of every real volume, the size given, beside the classical pipeline's at IoU 0.5."""
    rows = []
    for volume in dict.fromkeys(volume for table in scores.values() for volume in table):
        tables = [table.get(volume, {}) for table in scores.values()]
        classical = next((t["classical F1@0.5"] for t in tables if "classical F1@0.5" in t), None)
        row: Row = {"volume": volume, "classical @0.5": classical}
        row |= {
            f"{label} @{iou}": t.get(f"F1@{iou}")
            for label, t in zip(scores, tables, strict=True)
            for iou in IOUS
        }
        if len(scores) > 1:
            row["mean (range) @0.5"] = spread([t.get("F1@0.5") for t in tables])
        rows.append(row)
    return rows


def stored(path: Path) -> dict[str, Row]:
    """Volume -> scores, from the JSON file of ``python -m benchmarks.real_volumes score``."""
    rows = json.loads(path.read_text())["tables"][GIVEN]
    return {row["name"]: row for row in rows}


def plot(runs: dict[str, dict[str, Curve]], path: Path) -> None:
    """Loss and synthetic F1 against the step, one colour per run."""
    from matplotlib.figure import Figure

    figure = Figure((12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (label, run) in enumerate(runs.items()):
        colour = f"C{number}"
        if "loss" in run:
            left.plot(*smoothed(run["loss"]), color=colour, linewidth=0.8, label=f"{label}, training")
        if "val_loss" in run:
            left.plot(*run["val_loss"], "o-", color=colour, markersize=3, label=f"{label}, validation")
        for iou, style in zip(IOUS, ("-", "--", ":"), strict=True):
            if f"val_f1/{iou}" in run:
                right.plot(*run[f"val_f1/{iou}"], style, color=colour, label=f"{label}, IoU {iou}")
    left.set_ylabel(f"loss (training: means of {SMOOTH} logged steps)")
    left.set_yscale("log")
    right.set_ylabel("F1 on synthetic validation samples")
    right.set_ylim(0, 1)
    for panel in (left, right):
        panel.set_xlabel("step")
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of train.py")
    options_of.add_argument(
        "--scores", nargs="+", type=Path, help="scores of every run; default: RUN/real_volumes.json"
    )
    options_of.add_argument("--plot", type=Path, help="picture of the curves")
    options = options_of.parse_args()
    if options.scores is not None and len(options.scores) != len(options.runs):
        options_of.error(f"--scores needs a file per run, {len(options.runs)}, got {len(options.scores)}")
    names = [run.resolve().name for run in options.runs]
    labels = names if len(set(names)) == len(names) else [str(run) for run in options.runs]
    report = begin(options)
    runs = {label: curves(run) for label, run in zip(labels, options.runs, strict=True)}
    report.table("synthetic validation at the end of training", summary(runs))
    files = options.scores or [run / "real_volumes.json" for run in options.runs]
    scores = {label: stored(file) for label, file in zip(labels, files, strict=True) if file.is_file()}
    if scores:
        report.table("F1 on real volumes, size given", real(scores))
    if options.plot is not None:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()
