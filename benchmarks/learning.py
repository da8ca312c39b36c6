"""What runs learned: their curves, and how they do on real volumes beside a classical pipeline.

    python train.py +experiment=mix hardware=laptop seed=1 trainer.max_steps=12000 run_folder=outputs/hour
    python benchmarks/zero_shot.py --model outputs/hour --json outputs/hour/zero_shot.json
    python benchmarks/learning.py outputs/hour [outputs/seed2 ...] --plot learning.png

Curves come from the runs' CSV logs, all stretches of a resumed run together. Scores on real volumes come from
``zero_shot.json`` in the run folder, if it is there; the classical pipeline (Gaussian, Otsu, distance transform,
watershed) is given the size of the objects. With several runs, of several seeds say, their spread is printed.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=120)
IOUS = ("0.3", "0.5", "0.7")
SMOOTH = 20  # logged losses averaged into one point

Curve = tuple[list[int], list[float]]


def curves(run: Path) -> dict[str, Curve]:
    """Logged name -> steps and values; where a resumed run went over steps again, the later values count.

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


def summary(runs: dict[str, dict[str, Curve]]) -> None:
    """The end of every run; of several also the mean and the range."""
    names = ["val_loss", *(f"val_f1/{iou}" for iou in IOUS), "val_ap", "samples/s"]
    table = Table("run", "steps", *names, title="synthetic validation at the end", title_justify="left")
    for label, run in runs.items():
        values = [last(run, name) for name in names]
        table.add_row(
            label,
            str(1 + max(steps[-1] for steps, _ in run.values())),
            *("" if v is None else f"{v:.3f}" for v in values),
        )
    if len(runs) > 1:
        spreads = [spread([last(run, name) for run in runs.values()]) for name in names]
        table.add_row("mean (range)", "", *spreads, style="bold")
    CONSOLE.print(table)


def spread(values: list[float | None]) -> str:
    """Mean and range of what there is."""
    there = [value for value in values if value is not None]
    return f"{statistics.mean(there):.3f} ({min(there):.3f} to {max(there):.3f})" if there else ""


def real(scores: dict[str, dict[str, Any]]) -> None:
    """F1 of every real volume, the size given, beside the classical pipeline's at IoU 0.5."""
    volumes = list(dict.fromkeys(v for rows in scores.values() for v in rows))
    columns = [f"{label} @{iou}" for label in scores for iou in IOUS]
    title = "F1 on real volumes, size given"
    table = Table("volume", "classical @0.5", *columns, title=title, title_justify="left")
    for volume in volumes:
        cells = [rows.get(volume, {}).get(f"F1@{iou}") for rows in scores.values() for iou in IOUS]
        classical = next(
            (rows[volume].get("classical F1@0.5") for rows in scores.values() if volume in rows), None
        )
        table.add_row(
            volume,
            "" if classical is None else f"{classical:.2f}",
            *("" if cell is None else f"{cell:.2f}" for cell in cells),
        )
    CONSOLE.print(table)
    if len(scores) > 1:
        for volume in volumes:
            CONSOLE.print(
                f"{volume}: F1@0.5 {spread([r.get(volume, {}).get('F1@0.5') for r in scores.values()])}"
            )


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
    """Read, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of train.py")
    parser.add_argument(
        "--scores", nargs="+", type=Path, help="zero_shot.py --json of every run; default: RUN/zero_shot.json"
    )
    parser.add_argument("--plot", type=Path, default=None, help="picture of the curves")
    arguments = parser.parse_args()
    if arguments.scores is not None and len(arguments.scores) != len(arguments.runs):
        parser.error(f"--scores wants a file per run, {len(arguments.runs)}, got {len(arguments.scores)}")
    names = [run.resolve().name for run in arguments.runs]
    labels = names if len(set(names)) == len(names) else [str(run) for run in arguments.runs]
    runs = {label: curves(run) for label, run in zip(labels, arguments.runs, strict=True)}
    summary(runs)
    files = arguments.scores or [run / "zero_shot.json" for run in arguments.runs]
    scores = {
        label: json.loads(file.read_text())["given"]
        for label, file in zip(labels, files, strict=True)
        if file.is_file()
    }
    if scores:
        real(scores)
    else:
        CONSOLE.print(
            "no scores on real volumes: python benchmarks/zero_shot.py --model RUN --json RUN/zero_shot.json"
        )
    if arguments.plot is not None:
        plot(runs, arguments.plot)
        CONSOLE.print(f"curves: {arguments.plot}")


if __name__ == "__main__":
    main()
