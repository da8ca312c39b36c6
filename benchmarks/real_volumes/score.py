"""F1 and AP of one network on real volumes, beside a classical pipeline.

    python -m benchmarks.real_volumes score [--model FOLDER] [--pictures FOLDER] [--json FILE]
    python -m benchmarks.real_volumes score --estimated      the size estimated, volumes resampled as well
    python -m benchmarks.real_volumes score --appearances    contrast, noise, blur, background changed
    python -m benchmarks.real_volumes score --backgrounds    other bright, uneven backgrounds
    python -m benchmarks.real_volumes score --wrong-size     a wrong size given

Thresholds are the model's own, the same for all volumes. A truth label below a tenth of the median object is not
counted. The classical pipeline (Gaussian, Otsu, distance transform, watershed) is always given the size. ``volume``,
``z``, ``y``, ``x`` are medians over the pairs at IoU 0.3: voxels found over true ones, and the same of their extents.
False negatives and false positives are counted by kind.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anystar_torch import AnyStar
from anystar_torch.evaluation import picture
from anystar_torch.evaluation.matching import IOU_THRESHOLDS, SMALLEST_TRUTH, ContingencyTable
from anystar_torch.network import loading
from anystar_torch.training.thresholds import Scores, scores_of
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.appearances import APPEARANCES, BACKGROUNDS, Appearance
from benchmarks.real_volumes.volumes import EMBRYOS, Volume
from benchmarks.report import begin
from benchmarks.report import parser as common

RESAMPLED = (0.5, 1.0, 2.0)
WRONG = (0.4, 0.5, 0.7, 1.4, 2.0, 2.5)
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
    """False negatives and false positives at IoU 0.5, by kind.

    Returns:
        ``false negatives``: true objects without a partner. Of those ``small``, below half of the median true volume,
        or else ``several``, which hold more than half of each of two or more found objects. ``false positives``: found
        objects without a partner. Of those ``on background``, more than half of which is on no true object.
    """
    overlap = ContingencyTable.of(truth, found).without_small(SMALLEST_TRUTH)
    partners = overlap.matching(0.5).pairs
    negative = ~np.isin(overlap.true_labels, partners[:, 0])
    positive = ~np.isin(overlap.pred_labels, partners[:, 1])
    small = negative & (overlap.true_volumes < 0.5 * np.median(overlap.true_volumes))
    within = overlap.pairs[overlap.scores("iop") > 0.5][:, 0]
    several = negative & ~small & (np.bincount(within, minlength=negative.size) > 1)
    on_objects = np.bincount(found[truth > 0], minlength=found.max() + 1)[overlap.pred_labels]
    background = positive & (2 * on_objects < overlap.pred_volumes)
    kinds = {
        "false negatives": negative,
        "small": small,
        "several": several,
        "false positives": positive,
        "on background": background,
    }
    return {name: int(np.count_nonzero(which)) for name, which in kinds.items()}


def segment(model: AnyStar, volume: Volume, diameter: float | None) -> tuple[Row, Any]:
    """Scores and objects of a volume; the size is estimated where ``diameter`` is None."""
    began = time.perf_counter()
    found = model.predict(volume.image, spacing=volume.spacing, diameter=diameter, progress=False)
    seconds = time.perf_counter() - began
    scores = scores_of(volume.truth, found.labels)
    size = {"diameter": round(found.diameter, 1), "seconds": round(seconds, 1)}
    return row(scores) | outlines(volume.truth, found.labels, scores) | size, found


def classical_f1(volume: Volume) -> float:
    """F1 at IoU 0.5 of the classical pipeline."""
    labels = real.classical(volume.image, volume.spacing, volume.diameter)
    return float(row(scores_of(volume.truth, labels))["F1@0.5"])


def given(model: AnyStar, volumes: list[Volume], pictures: Path | None) -> tuple[list[Row], list[Row]]:
    """Every volume with its listed diameter, the classical pipeline beside it; and the faults of each."""
    table, kinds = [], []
    for volume in volumes:
        line, found = segment(model, volume, volume.diameter)
        table.append({"name": volume.name} | line | {"classical F1@0.5": classical_f1(volume)})
        kinds.append({"name": volume.name} | faults(volume.truth, found.labels))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            picture.planes(
                volume.image,
                volume.truth,
                found.labels,
                spacing=volume.spacing,
                path=pictures / f"{volume.name}.png",
                title=volume.name,
            )
    embryos = [line for line in table if line["name"].startswith(EMBRYOS)]
    if embryos:
        means = {f"F1@{t:g}": float(np.mean([line[f"F1@{t:g}"] for line in embryos])) for t in IOU_THRESHOLDS}
        table.append({"name": "mean of the embryos"} | means)
    return table, kinds


def estimated(model: AnyStar, volumes: list[Volume]) -> list[Row]:
    """Every volume with its size left to the estimate, as it is and resampled."""
    seen = [v if factor == 1.0 else v.resampled(factor) for v in volumes for factor in RESAMPLED]
    return [{"name": v.name} | segment(model, v, None)[0] | {"listed": v.diameter} for v in seen]


def wrong_size(model: AnyStar, volumes: list[Volume]) -> list[Row]:
    """F1 at IoU 0.5 of every volume whose diameter is given as so many times the listed one."""
    return [
        {"name": v.name} | {f"x{f:g}": segment(model, v, f * v.diameter)[0]["F1@0.5"] for f in WRONG}
        for v in volumes
    ]


def changed(model: AnyStar, volumes: list[Volume], changes: dict[str, Appearance]) -> list[Row]:
    """F1 at IoU 0.5 of every volume under every change of appearance, the size given."""
    judged = {volume.name for volume in real.judged(volumes)}
    table = []
    for name, change in changes.items():
        seen = [replace(v, image=np.ascontiguousarray(change(v), dtype=np.float32)) for v in volumes]
        ours = {v.name: segment(model, v, v.diameter)[0]["F1@0.5"] for v in seen}
        classical = [classical_f1(v) for v in seen if v.name in judged]
        mean = float(np.mean([f1 for volume, f1 in ours.items() if volume in judged]))
        means = {"mean": round(mean, 4), "classical mean": round(float(np.mean(classical)), 4)}
        table.append({"appearance": name} | ours | means)
    return table


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__)
    made.add_argument("--model", help="model or run folder; default: the shipped weights")
    made.add_argument("--data", type=Path, default=real.DATA)
    made.add_argument("--estimated", action="store_true", help="also with the size estimated, and resampled")
    made.add_argument("--appearances", action="store_true", help="also with changed appearance")
    made.add_argument("--backgrounds", action="store_true", help="also with other bright, uneven backgrounds")
    made.add_argument("--wrong-size", action="store_true", help="also with a wrong size given")
    made.add_argument("--prob-thresh", type=float, help="default: the model's")
    made.add_argument(
        "--smallest-tile", type=int, help="mirrored context of thin volumes; default: the model's"
    )
    made.add_argument("--no-shape-averaging", action="store_true", help="shapes of the best candidates alone")
    made.add_argument("--no-coarse-pass", action="store_true", help="the fine pass alone")
    made.add_argument("--tta", action="store_true", help="mean over mirrored inputs")
    made.add_argument("--pictures", type=Path, help="folder for a picture of every volume")
    return made


def run(options: argparse.Namespace) -> None:
    """Score the network, and report."""
    volumes = real.read(options.data)
    model = AnyStar.from_pretrained(
        options.model,
        shape_averaging=False if options.no_shape_averaging else None,
        coarse_pass=False if options.no_coarse_pass else None,
        tta=options.tta,
    )
    changed_settings = {"prob_thresh": options.prob_thresh, "smallest_tile": options.smallest_tile}
    given_settings = {name: value for name, value in changed_settings.items() if value is not None}
    model.config = replace(model.config, **given_settings)
    report = begin(options, weights=options.model or loading.SHIPPED)
    config = model.config
    settings = {
        "prob_thresh": config.prob_thresh,
        "nms_thresh": config.nms_thresh,
        "sizes": config.diameter_band,
    }
    report.table("settings", [settings])
    scores, kinds = given(model, volumes, options.pictures)
    report.table("size given", scores)
    report.table("false negatives and positives at IoU 0.5, size given", kinds)
    if options.estimated:
        report.table("size estimated", estimated(model, volumes))
    if options.wrong_size:
        report.table("F1 at IoU 0.5, another diameter given", wrong_size(model, volumes))
    if options.appearances:
        report.table("F1 at IoU 0.5 under changed appearance", changed(model, volumes, APPEARANCES))
    if options.backgrounds:
        report.table("F1 at IoU 0.5 with other backgrounds", changed(model, volumes, BACKGROUNDS))
