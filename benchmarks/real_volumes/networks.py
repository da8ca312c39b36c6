"""Networks side by side: the loss on the same synthetic samples, and F1 on real volumes.

    python -m benchmarks.real_volumes compare outputs/run [outputs/other ...] [--appearances] [--size 14] [--plot FILE]

The loss is that of training, over validation samples of ``--synth`` that no training has seen. It ranks two networks
earlier in a training than the scores on a few real volumes do. Real volumes are given the size. Networks in training
differ in the probability they give to the same object. Each gets the threshold from 0.15 to 0.8 with the highest mean
F1 at IoU 0.5 over all volumes, the same for all of them. ``--size`` rescales objects to one size for all networks;
the default is the median size each was trained on. ``--appearances`` adds the embryos and the ovule with changed
contrast, noise, blur and background. ``--plot`` draws all of it over the steps that the networks were trained for: a
learning curve, where they are checkpoints of one training.
"""

import argparse
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anystar_torch import AnyStar
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.configuration.folder import config_folder
from anystar_torch.evaluation.matching import IOU_THRESHOLDS
from anystar_torch.inference.stages import find_instances
from anystar_torch.network import loading
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.thresholds import scores_of
from benchmarks.header import hash_of_weights
from benchmarks.real_volumes import volumes as real_volumes
from benchmarks.real_volumes.appearances import APPEARANCES
from benchmarks.real_volumes.volumes import EMBRYOS, Volume, judged
from benchmarks.report import Report, begin
from benchmarks.report import parser as common

THRESHOLDS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
Results = dict[str, dict[str, Any]]


@torch.no_grad()
def synthetic(model: AnyStar, synth: str, samples: int) -> float:
    """Mean training loss over the validation samples 0 to ``samples`` - 1 of the generator ``synth``."""
    network = model.network
    data = SynthesisData(
        synthesizer=load_synthesizer(synth),
        rays=network.rays.vertices.shape[0],
        anisotropy=network.rays.anisotropy,
        grid=network.grid,
        batch_size=1,
        validation_samples=samples,
        normalisation=model.config.normalisation,
    )
    loss = instantiate(OmegaConf.load(config_folder() / "train.yaml").training.loss)
    totals = []
    for number in range(samples):
        batch = data.make(torch.tensor([number]), data.validation)
        totals.append(loss(network.logits(batch.image), batch.probability, batch.distances).total)
    return float(torch.stack(totals).mean())


def real(model: AnyStar, volumes: list[Volume]) -> dict[str, Any]:
    """Mean F1 over all volumes and over the embryos, at the threshold with the best mean at IoU 0.5."""
    found = {
        volume.name: model.candidates(
            volume.image, volume.spacing, volume.diameter, prob_thresh=THRESHOLDS[0], progress=False
        )
        for volume in volumes
    }
    rows: list[dict[str, Any]] = []
    for thresh in THRESHOLDS:
        f1 = {}
        for volume in volumes:
            objects = find_instances(
                found[volume.name].above(thresh),
                model.config.nms_thresh,
                shape_averaging=model.shape_averaging,
            )
            scores = scores_of(volume.truth, objects.labels)
            f1[volume.name] = [scores[iou].f1 for iou in IOU_THRESHOLDS]
        embryos = [values for name, values in f1.items() if name.startswith(EMBRYOS)]
        row: dict[str, Any] = {"prob_thresh": thresh, "all": mean(f1.values())}
        rows.append(row | ({"embryos": mean(embryos)} if embryos else {}))
    return max(rows, key=lambda row: row["all"]["F1@0.5"])


def rescaled(model: AnyStar, size: float) -> AnyStar:
    """The network, with objects rescaled to ``size`` of its voxels instead of the size it was trained on."""
    least, _, largest = model.config.diameter_band
    config = replace(model.config, diameter_band=(min(least, size), size, max(largest, size)))
    return AnyStar(model.network, config, coarse_pass=model.coarse_pass)


def mean(scores: Iterable[Sequence[float]]) -> dict[str, float]:
    """Mean F1 at every IoU threshold."""
    values = np.mean(list(scores), axis=0)
    return {f"F1@{iou:g}": round(float(value), 4) for iou, value in zip(IOU_THRESHOLDS, values, strict=True)}


def changed(model: AnyStar, volumes: list[Volume], prob_thresh: float) -> dict[str, float]:
    """Appearance -> mean F1 at IoU 0.5 over the embryos and the ovule."""
    row = {}
    for name, change in APPEARANCES.items():
        f1 = []
        for volume in judged(volumes):
            image = np.ascontiguousarray(change(volume), dtype=np.float32)
            found = model.predict(
                image, volume.spacing, volume.diameter, prob_thresh=prob_thresh, progress=False
            )
            f1.append(scores_of(volume.truth, found.labels)[0.5].f1)
        row[name] = round(float(np.mean(f1)), 4)
    return row


def present(rows: Collection[dict[str, Any]]) -> list[str]:
    """The groups of volumes that there are."""
    return [group for group in ("all", "embryos") if all(group in row for row in rows)]


def tables(results: Results, report: Report) -> None:
    """A row per network: volumes as they are, and with changed appearance."""
    groups = [(group, iou) for group in present(results.values()) for iou in IOU_THRESHOLDS]
    report.table(
        "networks",
        [
            {"network": name}
            | {
                key: row[key]
                for key in ("giga multiply-adds", "weights", "steps", "loss", "prob_thresh")
                if key in row
            }
            | {f"{group} F1@{iou:g}": row[group][f"F1@{iou:g}"] for group, iou in groups}
            for name, row in results.items()
        ],
    )
    if any("appearances" in row for row in results.values()):
        rows = [{"network": name} | row.get("appearances", {}) for name, row in results.items()]
        report.table("F1 at IoU 0.5, embryos and ovule, changed appearance", rows)


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Loss and F1 over the steps of training."""
    from matplotlib.figure import Figure

    rows = sorted(results.values(), key=lambda row: row["steps"])
    steps = [row["steps"] for row in rows]
    figure = Figure((10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [row["loss"] for row in rows], "o-", color="black")
    left.set_ylabel("loss on synthetic samples")
    for colour, group in zip(("C0", "C1"), present(rows), strict=False):
        for style, iou in zip(("-", "--", ":"), IOU_THRESHOLDS, strict=True):
            f1 = [row[group][f"F1@{iou:g}"] for row in rows]
            right.plot(steps, f1, f"o{style}", color=colour, markersize=3, label=f"{group}, IoU {iou:g}")
    if all("appearances" in row for row in rows):
        appearances = [list(row["appearances"].values()) for row in rows]
        for style, which, name in (("s-", np.mean, "all appearances"), ("v--", np.min, "the worst of them")):
            f1 = [float(which(values)) for values in appearances]
            right.plot(steps, f1, style, color="black", markersize=4, label=f"{name}, IoU 0.5")
    right.set_ylabel("F1 on real volumes")
    right.set_ylim(0, 1)
    right.legend(fontsize=7)
    for panel in (left, right):
        panel.set_xlabel("steps of training")
    figure.savefig(path, dpi=120)


def models_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of a command that scores several networks on real volumes."""
    made = common(description)
    made.add_argument("models", nargs="*", type=Path, help="model or run folders; the shipped one if none")
    made.add_argument("--data", type=Path, default=real_volumes.DATA)
    return made


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = models_parser(__doc__)
    made.add_argument("--synth", default="zero_shot", help="generator of the synthetic samples")
    made.add_argument("--samples", type=int, default=32, help="synthetic samples")
    made.add_argument("--appearances", action="store_true", help="also with changed appearance")
    made.add_argument("--no-coarse-pass", action="store_true", help="the fine pass alone")
    made.add_argument("--size", type=float, help="network voxels that objects are rescaled to")
    made.add_argument("--plot", type=Path, help="draw them over the steps of training")
    return made


def run(options: argparse.Namespace) -> None:
    """Score every network, and report as the results grow."""
    volumes = real_volumes.read(options.data)
    report = begin(options)
    results: Results = {}
    for path in options.models or [None]:
        model = AnyStar.from_pretrained(path, coarse_pass=False if options.no_coarse_pass else None)
        if options.size is not None:
            model = rescaled(model, options.size)
        loss = round(synthetic(model, options.synth, options.samples), 4)
        row = {
            "weights": hash_of_weights(path or loading.SHIPPED),
            "steps": model.config.provenance.steps or 0,
            "loss": loss,
        } | real(model, volumes)
        if options.appearances:
            row["appearances"] = changed(model, volumes, row["prob_thresh"])
        results["shipped" if path is None else str(path)] = row
        tables(results, report)
    if options.plot is not None:
        plot(results, options.plot)
