"""Fine-tuning on few annotations, and scores on objects that were not annotated.

    python -m benchmarks.finetune --runs FOLDER [--model FOLDER] [--minutes 8 | --steps 150] [--json FILE] [CASE ...]

Cases: ``embryo`` trains on one volume of BBBC050 and scores the three others. ``blastocyst`` trains on a box of a
quarter of a volume and scores the rest of it. ``cho`` trains on five outlined objects and scores the others.

Each case is a run of ``+experiment=finetune`` from the weights of ``--model``. It is scored before and after at the
thresholds of each model, with the listed diameters. The other development volumes measure what is forgotten.

A run that is complete in the folder is not repeated. ``--trained-share 0.5`` scores weights halfway between those
before and after. With ``--json`` the rows of the file are kept and printed with the new ones, so that cases can be
measured one by one. The file must be of the same weights.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from anystar_torch import AnyStar
from anystar_torch.evaluation.matching import IOU_THRESHOLDS
from anystar_torch.network.loading import SHIPPED
from anystar_torch.network.mean_weights import mean_weights
from anystar_torch.training.annotation import UNKNOWN
from anystar_torch.training.annotation_scores import without_unknown
from anystar_torch.training.thresholds import mean_scores, scores_of
from benchmarks.header import ROOT
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.volumes import Labels, Volume
from benchmarks.report import Report, begin
from benchmarks.report import parser as common

EMBRYO, BLASTOCYST, CHO = "bbbc050_train_Emb01_t401", "idr0062_blastocyst_dapi", "ctc_cho_t19"
BOX = ((0, 236), (68, 137), (67, 135))  # a quarter of the blastocyst; 12 of its 62 objects are whole inside
OUTLINED = (1, 2, 3, 4, 6)  # of the 13 objects of the CHO volume
GAINS, FORGOTTEN = "scored on what was not annotated", "other development volumes"
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What is trained on, and what is scored.

    Attributes:
        volume: the volume that is trained on.
        labels: its labels that are trained on, 0 elsewhere.
        options: further keys of the annotated volume.
        scored: volumes and their labels to score, with ``UNKNOWN`` where nothing is scored.
    """

    volume: Volume
    labels: Labels
    options: dict[str, Any]
    scored: list[tuple[Volume, Labels]]


def cases(volumes: dict[str, Volume]) -> dict[str, Case]:
    """The cases by their names."""
    embryos = [v for name, v in volumes.items() if name.startswith(real.EMBRYOS) and name != EMBRYO]
    blastocyst, cho = volumes[BLASTOCYST], volumes[CHO]
    place = tuple(slice(start, stop) for start, stop in BOX)
    seen = np.unique(blastocyst.truth[place])
    rest = np.where(np.isin(blastocyst.truth, seen[seen > 0]), UNKNOWN, blastocyst.truth)
    rest[place] = UNKNOWN
    outlined = np.isin(cho.truth, OUTLINED)
    return {
        "embryo": Case(volumes[EMBRYO], volumes[EMBRYO].truth, {}, [(v, v.truth) for v in embryos]),
        "blastocyst": Case(blastocyst, blastocyst.truth, {"boxes": [BOX]}, [(blastocyst, rest)]),
        "cho": Case(
            cho,
            np.where(outlined, cho.truth, 0),
            {"objects_only": True},
            [(cho, np.where(outlined, UNKNOWN, cho.truth))],
        ),
    }


def train(case: Case, folder: Path, data: Path, overrides: list[str]) -> float | None:
    """Run the fine-tuning of a case.

    Args:
        case: what is trained on.
        folder: the run folder.
        data: folder of the real volumes.
        overrides: of ``+experiment=finetune``: the model to start from, and the budget.

    Returns:
        Its minutes; None if the folder holds a complete run.

    Raises:
        SystemExit: the run failed.
    """
    if (folder / "model" / "config.json").is_file():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / "trained_labels.tif"
    tifffile.imwrite(labels, case.labels.astype(np.uint16))
    volume = {
        "image": str(data / case.volume.name / "image.tif"),
        "labels": str(labels),
        "spacing": list(case.volume.spacing),
        "diameter": case.volume.diameter,
        **case.options,
    }
    annotated = json.dumps([volume]).replace('"', "")
    command = [sys.executable, "train.py", "+experiment=finetune", f"data.annotated={annotated}"]
    began = time.perf_counter()
    with (folder / "output.txt").open("w") as output:
        done = subprocess.run(
            [*command, f"run_folder={folder}", *overrides],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise SystemExit(
            f"{folder} failed ({done.returncode}): {(folder / 'output.txt').read_text()[-2000:]}"
        )
    return (time.perf_counter() - began) / 60


def f1(model: AnyStar, scored: list[tuple[Volume, Labels]]) -> dict[float, float]:
    """Mean F1 over volumes by IoU threshold."""
    found = []
    for volume, truth in scored:
        labels = truth.astype(np.int32)
        objects = model.predict(volume.image, volume.spacing, volume.diameter, progress=False)
        found.append(scores_of(labels.clip(0), without_unknown(labels, objects.labels)))
    return {thresh: float(score.f1) for thresh, score in mean_scores(found).items()}


def row(name: str, before: dict[float, float], after: dict[float, float]) -> Row:
    """F1 of both models at every IoU threshold."""
    f1_at = {
        f"{when}, {thresh:g}": round(scores[thresh], 3)
        for thresh in IOU_THRESHOLDS
        for when, scores in (("before", before), ("after", after))
    }
    return {"case": name} | f1_at


class Comparison:
    """Scores of models after fine-tuning beside those of the model before it.

    Args:
        before: the model that the trainings start from.
        volumes: all development volumes.
    """

    def __init__(self, before: AnyStar, volumes: list[Volume]) -> None:
        self.before, self.volumes = before, volumes
        self._before: dict[str, dict[float, float]] = {}

    def between(self, after: AnyStar, share: float) -> AnyStar:
        """The model whose weights are this share of those after fine-tuning, the rest those before."""
        states = [model.network.state_dict() for model in (self.before, after)]
        after.network.load_state_dict(mean_weights(states, [1 - share, share]))
        return after if share == 1 else AnyStar(after.network, replace(after.config, receptive_field=None))

    def gain(self, name: str, case: Case, after: AnyStar) -> Row:
        """The row of what was not annotated."""
        return row(name, f1(self.before, case.scored), f1(after, case.scored)) | {
            "objects": len(np.unique(case.labels)) - 1,
            "prob_thresh": after.config.prob_thresh,
            "steps": after.config.provenance.steps,
        }

    def forgotten(self, name: str, case: Case, after: AnyStar) -> list[Row]:
        """The rows of the volumes that the case neither trains on nor scores."""
        touched = {case.volume.name, *(volume.name for volume, _ in case.scored)}
        rows = []
        for volume in (v for v in self.volumes if v.name not in touched):
            scored = [(volume, volume.truth)]
            if volume.name not in self._before:
                self._before[volume.name] = f1(self.before, scored)
            rows.append(row(f"{name}: {volume.name}", self._before[volume.name], f1(after, scored)))
        return rows


def keep_rows(report: Report) -> None:
    """Take over the tables of the JSON file.

    Raises:
        SystemExit: they are of other weights.
    """
    if report.path is None or not report.path.is_file():
        return
    weights = json.loads(report.path.read_text())["header"]["weights"]
    if weights != report.header.weights:
        raise SystemExit(
            f"{report.path} is of the weights {weights}, not {report.header.weights}: name another file"
        )
    report.resume()


def arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = common(__doc__)
    parser.add_argument("cases", nargs="*", help="embryo, blastocyst, cho; all of them if none is named")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the run folders")
    parser.add_argument(
        "--model", type=Path, default=SHIPPED, help="model folder that the trainings start from"
    )
    parser.add_argument("--minutes", type=float, default=8, help="budget of each training")
    parser.add_argument("--steps", type=int, help="number of steps of each training, in place of a budget")
    parser.add_argument(
        "--trained-share",
        type=float,
        default=1.0,
        help="of the scored weights; the rest are those of --model, as with report.export.trained_share",
    )
    parser.add_argument("--data", type=Path, default=real.DATA)
    return parser.parse_args()


def main() -> None:
    """Train and score the cases, and add their rows to the tables."""
    options = arguments()
    volumes = real.read(options.data)
    known = cases({volume.name: volume for volume in volumes})
    if unknown := set(options.cases) - set(known):
        raise SystemExit(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    budget = f"minutes={options.minutes:g}" if options.steps is None else f"trainer.max_steps={options.steps}"
    overrides = [f"warm_start={options.model.absolute()}", budget]
    report = begin(options, weights=options.model)
    keep_rows(report)
    compared = Comparison(AnyStar.from_pretrained(options.model), volumes)
    for name in options.cases or known:
        case, folder = known[name], (options.runs / name).absolute()
        minutes = train(case, folder, options.data.absolute(), overrides)
        after = AnyStar.from_pretrained(folder)
        if (start := after.config.provenance.notes.get("start")) != str(options.model.absolute()):
            raise SystemExit(f"{folder} started from {start}, not from {options.model}: name another folder")
        after = compared.between(after, options.trained_share)
        gain, others = compared.gain(name, case, after), compared.forgotten(name, case, after)
        earlier = [line for line in report.tables.get(GAINS, []) if line["case"] == name]
        if minutes is None and earlier:
            minutes = earlier[0]["minutes"]
        add(report, GAINS, name, [gain | {"minutes": minutes}])
        add(report, FORGOTTEN, name, others)


def add(report: Report, title: str, name: str, rows: list[Row]) -> None:
    """Print a table with new rows of a case in place of its earlier ones."""
    kept = [line for line in report.tables.get(title, []) if line["case"].partition(":")[0] != name]
    report.table(title, [*kept, *rows])


if __name__ == "__main__":
    main()
