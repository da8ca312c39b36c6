"""Fine-tuning on few annotations, and scores on objects that were not annotated.

    python -m benchmarks.finetune --runs outputs/finetune [--minutes 10 | --steps 150] [CASE ...]

Cases: ``embryo`` trains on one volume of BBBC050 and scores the three others. ``blastocyst`` trains on a box of a
quarter of a volume and scores the rest of it. ``cho`` trains on five outlined objects and scores the others.

Each case is a run of ``+experiment=finetune`` from the shipped weights. It is scored before and after at the
thresholds of each model, with the listed diameters. A fine-tuned model predicts thin volumes with mirror images
around them, so the first model is scored that way too ("mirrored"). The other development volumes measure what is
forgotten. A run that is complete in the folder is not repeated.
"""

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
from anystar_torch.training.annotation import UNKNOWN
from anystar_torch.training.annotation_scores import without_unknown
from anystar_torch.training.thresholds import mean_scores, scores_of
from benchmarks.header import ROOT
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.volumes import Labels, Volume
from benchmarks.report import begin
from benchmarks.report import parser as common

EMBRYO, BLASTOCYST, CHO = "bbbc050_train_Emb01_t401", "idr0062_blastocyst_dapi", "ctc_cho_t19"
BOX = ((0, 236), (68, 137), (67, 135))  # a quarter of the blastocyst; 12 of its 62 objects are whole inside
OUTLINED = (1, 2, 3, 4, 6)  # of the 13 objects of the CHO volume


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


def train(case: Case, folder: Path, data: Path, budget: list[str]) -> float | None:
    """Run the fine-tuning of a case.

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
            [*command, f"run_folder={folder}", *budget], cwd=ROOT, stdout=output, stderr=output, check=False
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


def row(name: str, scores: dict[str, dict[float, float]]) -> dict[str, Any]:
    """F1 of every model at every IoU threshold."""
    return {"case": name} | {
        f"{model}, {thresh:g}": round(f1_at[thresh], 3)
        for thresh in IOU_THRESHOLDS
        for model, f1_at in scores.items()
    }


def main() -> None:
    parser = common(__doc__)
    parser.add_argument("cases", nargs="*", help="embryo, blastocyst, cho; all of them if none is named")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the run folders")
    parser.add_argument("--minutes", type=float, default=10, help="budget of each training")
    parser.add_argument("--steps", type=int, help="number of steps of each training, in place of a budget")
    parser.add_argument("--data", type=Path, default=real.DATA)
    options = parser.parse_args()
    volumes = {volume.name: volume for volume in real.read(options.data)}
    known = cases(volumes)
    if unknown := set(options.cases) - set(known):
        raise SystemExit(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    budget = (
        [f"minutes={options.minutes:g}"] if options.steps is None else [f"trainer.max_steps={options.steps}"]
    )
    report = begin(options, weights=SHIPPED)
    shipped = AnyStar.from_pretrained()
    before = AnyStar(shipped.network, replace(shipped.config, smallest_tile=0))
    gains, forgotten = [], []
    for name in options.cases or known:
        case, folder = known[name], (options.runs / name).absolute()
        minutes = train(case, folder, options.data.absolute(), budget)
        after = AnyStar.from_pretrained(folder)
        like_after = replace(before.config, smallest_tile=after.config.smallest_tile)
        models = {"before": before, "mirrored": AnyStar(before.network, like_after), "after": after}
        measured = {"objects": len(np.unique(case.labels)) - 1, "minutes": minutes}
        measured |= {"prob_thresh": after.config.prob_thresh, "steps": after.config.provenance.steps}
        gains.append(row(name, {kind: f1(model, case.scored) for kind, model in models.items()}) | measured)
        report.table("scored on what was not annotated", gains)
        touched = {case.volume.name, *(volume.name for volume, _ in case.scored)}
        for volume in (v for v in volumes.values() if v.name not in touched):
            scores = {kind: f1(model, [(volume, volume.truth)]) for kind, model in models.items()}
            forgotten.append(row(f"{name}: {volume.name}", scores))
        report.table("other development volumes", forgotten)


if __name__ == "__main__":
    main()
