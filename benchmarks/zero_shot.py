"""How well a network segments real volumes it was never trained on.

    python benchmarks/zero_shot.py [--model FOLDER] [--pictures FOLDER] [--json FILE]
    python benchmarks/zero_shot.py --estimated          the size of the objects not given, volumes resampled as well
    python benchmarks/zero_shot.py --appearances        contrast, noise, blur, background changed
    python benchmarks/zero_shot.py --grounds            other bright, uneven grounds
    python benchmarks/zero_shot.py --misjudged          a wrong size given

Thresholds are the model's own, the same for all volumes; a truth label below a tenth of the median object is not
counted. The classical pipeline (Gaussian, Otsu, distance transform, watershed) is always given the size. ``volume``,
``z``, ``y``, ``x`` are medians over the pairs at IoU 0.3: voxels found over true ones, and the same of what they span.
Missed and false objects are counted by kind, so that one sees what a better network could find.
"""

import argparse
import json
import platform
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import real_volumes
import torch
from numpy.typing import NDArray
from real_volumes import APPEARANCES, EMBRYOS, GROUNDS, Appearance, RealVolume
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage

from anystar_torch import AnyStar, __version__
from anystar_torch.evaluation import picture
from anystar_torch.evaluation.matching import IOU_THRESHOLDS, SMALLEST_TRUTH, ContingencyTable
from anystar_torch.training.thresholds import Scores, scores_of

CONSOLE = Console(width=160)
RESAMPLED = (0.5, 1.0, 2.0)
MISJUDGED = (0.4, 0.5, 0.7, 1.4, 2.0, 2.5)
Row = dict[str, Any]


def row(scores: Scores) -> Row:
    """F1 and AP at every IoU threshold."""
    return {
        f"{name}@{thresh:g}": round(float(getattr(score, attribute)), 4)
        for name, attribute in (("F1", "f1"), ("AP", "accuracy"))
        for thresh, score in scores.items()
    } | {"true": scores[0.5].n_true, "found": scores[0.5].n_pred}


def outlines(truth: NDArray[np.int32], found: NDArray[np.int32], scores: Scores) -> Row:
    """Found over true: volumes and extents, medians over the pairs at the lowest IoU threshold."""
    pairs = scores[min(scores)].pairs
    if not len(pairs):
        return {}
    volumes = np.bincount(truth.ravel()), np.bincount(found.ravel())
    spans = [
        np.array(
            [[s.stop - s.start for s in box] if box else [0, 0, 0] for box in ndimage.find_objects(labels)]
        )
        for labels in (truth, found)
    ]
    volume = np.median(volumes[1][pairs[:, 1]] / volumes[0][pairs[:, 0]])
    z, y, x = np.median(spans[1][pairs[:, 1] - 1] / spans[0][pairs[:, 0] - 1], axis=0)
    return {
        name: round(float(v), 2) for name, v in zip(("volume", "z", "y", "x"), (volume, z, y, x), strict=True)
    }


def faults(truth: NDArray[np.int32], found: NDArray[np.int32]) -> Row:
    """What is missed and what is false at IoU 0.5, by kind.

    Returns:
        ``missed``: true objects without a partner; of those ``small``, below half of the median true volume, or else
        ``several``, which hold more than half of each of two or more found objects. ``false``: found objects without a
        partner; of those ``ground``, more than half of which is on no true object.
    """
    overlap = ContingencyTable.of(truth, found).without_small(SMALLEST_TRUTH)
    partners = overlap.matching(0.5).pairs
    missed = ~np.isin(overlap.true_labels, partners[:, 0])
    false = ~np.isin(overlap.pred_labels, partners[:, 1])
    small = missed & (overlap.true_volumes < 0.5 * np.median(overlap.true_volumes))
    within = overlap.pairs[overlap.scores("iop") > 0.5][:, 0]
    several = missed & ~small & (np.bincount(within, minlength=missed.size) > 1)
    on_objects = np.bincount(found[truth > 0], minlength=found.max() + 1)[overlap.pred_labels]
    ground = false & (2 * on_objects < overlap.pred_volumes)
    kinds = {"missed": missed, "small": small, "several": several, "false": false, "ground": ground}
    return {name: int(np.count_nonzero(which)) for name, which in kinds.items()}


def segment(model: AnyStar, volume: RealVolume, diameter: float | None) -> tuple[Row, Any]:
    """Scores and objects of a volume; the size is estimated where ``diameter`` is None."""
    began = time.perf_counter()
    found = model.predict(volume.image, spacing=volume.spacing, diameter=diameter, progress=False)
    seconds = time.perf_counter() - began
    scores = scores_of(volume.truth, found.labels)
    size = {"diameter": round(found.diameter, 1), "seconds": round(seconds, 1)}
    return row(scores) | outlines(volume.truth, found.labels, scores) | size, found


def given(
    model: AnyStar, volumes: list[RealVolume], pictures: Path | None
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Every volume with its listed diameter, the classical pipeline beside it; and the faults of each."""
    table, kinds = {}, {}
    for volume in track(volumes, "size given", console=CONSOLE):
        table[volume.name], found = segment(model, volume, volume.diameter)
        labels = real_volumes.classical(volume.image, volume.spacing, volume.diameter)
        table[volume.name]["classical F1@0.5"] = row(scores_of(volume.truth, labels))["F1@0.5"]
        kinds[volume.name] = faults(volume.truth, found.labels)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            picture.planes(
                volume.image, volume.truth, found.labels, spacing=volume.spacing,
                path=pictures / f"{volume.name}.png", title=volume.name,
            )  # fmt: skip
    return table, kinds


def estimated(model: AnyStar, volumes: list[RealVolume]) -> dict[str, Row]:
    """Every volume with its size left to the estimate, as it is and resampled."""
    table = {}
    for volume in track(volumes, "size estimated", console=CONSOLE):
        for factor in RESAMPLED:
            seen = volume if factor == 1.0 else volume.resampled(factor)
            table[seen.name], _ = segment(model, seen, None)
            table[seen.name]["listed"] = seen.diameter
    return table


def misjudged(model: AnyStar, volumes: list[RealVolume]) -> dict[str, Row]:
    """F1 at IoU 0.5 of every volume whose diameter is given as so many times the listed one."""
    return {
        volume.name: {
            f"x{factor:g}": segment(model, volume, factor * volume.diameter)[0]["F1@0.5"]
            for factor in MISJUDGED
        }
        for volume in track(volumes, "size misjudged", console=CONSOLE)
    }


def appearances(model: AnyStar, volumes: list[RealVolume], changes: dict[str, Appearance]) -> dict[str, Row]:
    """F1 at IoU 0.5 of every volume under every change of appearance, the size given."""
    table = {}
    for name, change in track(changes.items(), "appearances", console=CONSOLE, total=len(changes)):
        ours, theirs = {}, {}
        for volume in volumes:
            changed = replace(volume, image=np.ascontiguousarray(change(volume), dtype=np.float32))
            ours[volume.name] = segment(model, changed, volume.diameter)[0]["F1@0.5"]
            labels = real_volumes.classical(changed.image, volume.spacing, volume.diameter)
            theirs[volume.name] = row(scores_of(volume.truth, labels))["F1@0.5"]
        judged = [volume.name for volume in real_volumes.judged(volumes)]
        table[name] = ours | {
            "mean": round(float(np.mean([ours[n] for n in judged])), 4),
            "classical mean": round(float(np.mean([theirs[n] for n in judged])), 4),
        }
    return table


def short(name: str) -> str:
    """A volume's name for a narrow column."""
    return name.removeprefix("bbbc050_train_")


def show(title: str, table: dict[str, Row]) -> None:
    """Print a table of rows."""
    columns = list(dict.fromkeys(column for values in table.values() for column in values))
    printed = Table("", *map(short, columns), title=title, title_justify="left")
    for name, values in table.items():
        printed.add_row(short(name), *(f"{values[c]:.3g}" if c in values else "" for c in columns))
    CONSOLE.print(printed)


def embryo_mean(table: dict[str, Row]) -> Row:
    """The mean over the embryos."""
    rows = [values for name, values in table.items() if name.startswith(EMBRYOS)]
    return {f"F1@{t:g}": float(np.mean([values[f"F1@{t:g}"] for values in rows])) for t in IOU_THRESHOLDS}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=None, help="model or run folder; default: the shipped weights")
    parser.add_argument("--data", type=Path, default=real_volumes.DATA)
    parser.add_argument("--estimated", action="store_true", help="also without the size, and resampled")
    parser.add_argument("--appearances", action="store_true", help="also with changed appearance")
    parser.add_argument("--grounds", action="store_true", help="also before other bright, uneven grounds")
    parser.add_argument("--misjudged", action="store_true", help="also with a wrong size given")
    parser.add_argument("--prob-thresh", type=float, default=None, help="default: the model's")
    parser.add_argument(
        "--single", action="store_true", help="shapes of the best candidate alone, not averaged"
    )
    parser.add_argument("--one-scale", action="store_true", help="without the second look from further away")
    parser.add_argument("--flips", action="store_true", help="averaged over mirror images")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for a picture of every volume")
    parser.add_argument("--json", type=Path, default=None, help="write every figure to this file")
    arguments = parser.parse_args()
    volumes = real_volumes.read(arguments.data)
    model = AnyStar.from_pretrained(
        arguments.model, averaged=False if arguments.single else None,
        multiscale=False if arguments.one_scale else None, flips=arguments.flips,
    )  # fmt: skip
    if arguments.prob_thresh is not None:
        model.config = replace(model.config, prob_thresh=arguments.prob_thresh)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    CONSOLE.print(
        f"anystar_torch {__version__} ({commit}), torch {torch.__version__}, {platform.processor() or 'cpu'}, "
        f"{torch.get_num_threads()} threads; prob_thresh {model.config.prob_thresh:g}, "
        f"nms_thresh {model.config.nms_thresh:g}, sizes {model.config.diameter_band}"
    )
    results = dict(zip(("given", "faults"), given(model, volumes, arguments.pictures), strict=True))
    if any(name.startswith(EMBRYOS) for name in results["given"]):
        results["given"]["mean of the embryos"] = embryo_mean(results["given"])
    show("size given", results["given"])
    show("missed and false objects at IoU 0.5, size given", results["faults"])
    if arguments.estimated:
        results["estimated"] = estimated(model, volumes)
        show("size estimated", results["estimated"])
    if arguments.misjudged:
        results["misjudged"] = misjudged(model, volumes)
        show("F1 at IoU 0.5, another diameter given", results["misjudged"])
    if arguments.appearances:
        results["appearances"] = appearances(model, volumes, APPEARANCES)
        show("F1 at IoU 0.5 under changed appearance, size given", results["appearances"])
    if arguments.grounds:
        results["grounds"] = appearances(model, volumes, GROUNDS)
        show("F1 at IoU 0.5 before other grounds, size given", results["grounds"])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
