"""The end of a training: how good is the network, on samples it never saw and on a real volume, and where does it lie.

Thresholds are chosen on the validation ids; the scores are those of other ids, the split "report". The real volume is
never used for anything but looking.
"""

import importlib.util
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from anystar_torch import __version__, io, picture, weights
from anystar_torch.callbacks import LAST
from anystar_torch.data import SynthesisData
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.thresholds import (
    NMS_THRESHOLDS,
    PROB_THRESHOLDS,
    Choice,
    Pair,
    Scores,
    best,
    evaluate,
    scores_of,
)
from anystar_torch.lit import Training
from anystar_torch.synthesizer import Synthesizer

FAILED, STOPPED = 1, 130  # exit statuses: learned nothing; ended by a signal
BAND_SAMPLES = 64  # fewer leave the quantiles of the object size to chance
EXAMPLE_SPACING = (2.0, 1.0, 1.0)  # of the volume in the stardist package, relative; its file does not say


def last_checkpoint(run_folder: str | None) -> Path | None:
    """The newest checkpoint of a run folder; None for a new run.

    Raises:
        ValueError: the folder has none.
    """
    if run_folder is None:
        return None
    path = Path(run_folder, "checkpoints", LAST)
    if not path.is_file():
        raise ValueError(f"cannot resume {run_folder}: there is no {path}")
    return path


def example_volume() -> tuple[Path, Path] | None:
    """Image and labels of the real volume in the ``stardist`` package, found without importing it."""
    spec = importlib.util.find_spec("stardist")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "data" / "images"
    return folder / "img3d.tif", folder / "mask3d.tif"


def diameter_band(synthesizer: Synthesizer) -> tuple[float, float, float]:
    """5 %, 50 % and 95 % quantiles of the volume-equivalent diameter of a voxel's object, in voxels.

    Weighted by volume, as the loss sees the objects; over the first BAND_SAMPLES ids.

    Raises:
        ValueError: a synthesizer that makes no objects.
    """
    parts = torch.split(torch.arange(BAND_SAMPLES), 8)
    labels = torch.cat([synthesizer(ids).labels for ids in parts]).numpy()
    found = np.sort(np.concatenate([np.bincount(sample.reshape(-1))[1:] for sample in labels]))
    found = found[found > 0]
    if not found.size:
        raise ValueError("the synthesizer makes no objects: check the synth settings")
    place = np.searchsorted(np.cumsum(found), np.array([0.05, 0.5, 0.95]) * found.sum())
    low, middle, high = np.cbrt(6 / np.pi * found[place])
    return round(float(low), 1), round(float(middle), 1), round(float(high), 1)


def median_diameter(labels: NDArray[Any], spacing: Sequence[float | int]) -> float:
    """Volume-equivalent diameter of the median object, in voxels of the finest axis."""
    volumes = np.bincount(labels.reshape(-1))[1:]
    voxel = float(np.prod(np.array(spacing) / min(spacing)))
    return float(np.cbrt(6 / np.pi * np.median(volumes[volumes > 0]) * voxel))


class Report:
    """Scores, weights and a picture at the end of a run.

    Args:
        folder: the run folder.
        samples: how many synthetic ids are scored, and how many choose the thresholds.
        min_f1: F1 at IoU 0.3 on the scored ids below which the network counts as having learned nothing.
        image: a real volume to segment; None for the one in the ``stardist`` package, if that is installed.
        truth: its labels; None if there are none.
        diameter: of its objects, in voxels of the finest axis; None to measure it on the truth.
        spacing: its voxel size (z, y, x); None for what the file says.
    """

    def __init__(
        self,
        *,
        folder: str,
        samples: int,
        min_f1: float | int,
        image: str | None,
        truth: str | None,
        diameter: float | int | None,
        spacing: Sequence[float | int] | None,
    ) -> None:
        if samples < 1:
            raise ValueError(f"report.samples must be at least 1, got {samples}")
        self.folder, self.samples, self.min_f1 = Path(folder), samples, min_f1
        self.image, self.truth, self.diameter, self.spacing = image, truth, diameter, spacing
        self.console = Console()

    def __call__(self, trainer: L.Trainer, training: Training, data: SynthesisData) -> int:
        """Reports on a finished or stopped training; the exit status of the run."""
        if trainer.global_step < trainer.max_steps:
            self._say_stopped(trainer)
            return STOPPED
        if not trainer.is_global_zero:
            return 0
        model = self._finished(trainer, training, data)
        score = self._on_synthetic(model, data.synthesizer)
        self._on_real(model)
        self._say_where()
        if score < self.min_f1:
            self.console.print(
                f"[red]The network learned nothing:[/] F1 at IoU 0.3 is {score:.2f}, at least {self.min_f1} is "
                "wanted. Train longer (trainer.max_steps) or look at its samples (samples.png)."
            )
            return FAILED
        return 0

    def _finished(self, trainer: L.Trainer, training: Training, data: SynthesisData) -> AnyStar:
        """The network with the thresholds that suit it, saved."""
        network = training.network.cpu().float().eval()
        config = weights.ModelConfig(
            architecture=network.architecture,
            normalisation=data.normalisation,
            diameter_band=diameter_band(data.validation),
            prob_thresh=0.5,
            nms_thresh=NMS_THRESHOLDS[0],
            provenance={
                "version": __version__,
                "steps": trainer.global_step,
                "seed": data.synthesizer.seed,
                "batch_size": data.batch_size,
                "command": shlex.join(["python", *sys.argv]),
            },
        )
        choice = best(
            evaluate(AnyStar(network, config), self._pairs(data.validation), PROB_THRESHOLDS, NMS_THRESHOLDS)
        )
        config = replace(config, prob_thresh=choice.prob_thresh, nms_thresh=choice.nms_thresh)
        weights.save(self.folder / "model", network, config)
        return AnyStar(network, config)

    def _pairs(self, synthesizer: Synthesizer) -> list[Pair]:
        sample = synthesizer(torch.arange(self.samples))
        return [
            (image[0].numpy(), labels[0].numpy())
            for image, labels in zip(sample.image, sample.labels, strict=True)
        ]

    def _on_synthetic(self, model: AnyStar, synthesizer: Synthesizer) -> float:
        config = model.config
        choice: Choice = evaluate(
            model, self._pairs(synthesizer.on("report")), [config.prob_thresh], [config.nms_thresh]
        )[0]
        self._table(f"{self.samples} synthetic volumes it never saw, mean scores", choice.scores)
        self.console.print(
            f"thresholds: prob_thresh {config.prob_thresh:g}, nms_thresh {config.nms_thresh:g}"
        )
        return choice.scores[0.3].f1

    def _on_real(self, model: AnyStar) -> None:
        example = example_volume() if self.image is None else None
        path = self.image or (example[0] if example else None)
        if path is None:
            self.console.print(
                "no real volume: give one with report.image=FILE, or install stardist for its example"
            )
            return
        truth_path = self.truth or (example[1] if example else None)
        scan = io.read(path)
        truth = io.read_labels(truth_path).array.astype(np.int32) if truth_path else None
        spacing = self.spacing or (EXAMPLE_SPACING if example else scan.spacing) or (1.0, 1.0, 1.0)
        diameter = self.diameter or (None if truth is None else median_diameter(truth, spacing))
        found = model.predict(scan.array, spacing=spacing, diameter=diameter)
        self.console.print(
            f"{path}: {len(found)} objects, taken to be {found.diameter:.1f} voxels wide", soft_wrap=True
        )
        if truth is not None:
            self._table(f"{Path(path).name} against its ground truth", scores_of(truth, found.labels))
        shown = picture.planes(
            scan.array, truth, found.labels, path=self.folder / "real.png", spacing=spacing
        )
        self.console.print(f"picture: {shown}", soft_wrap=True)

    def _table(self, title: str, scores: Scores) -> None:
        table = Table(
            "IoU", "F1", "AP", "precision", "recall", "true", "found", title=title, title_justify="left"
        )
        for thresh, score in scores.items():
            ratios = (score.f1, score.accuracy, score.precision, score.recall)
            table.add_row(f"{thresh:g}", *(f"{r:.3f}" for r in ratios), str(score.n_true), str(score.n_pred))
        self.console.print(table)

    def _say_where(self) -> None:
        model = self.folder / "model"
        self.console.print(
            f"\nnetwork:  {model}\nlogs:     tensorboard --logdir {self.folder / 'tensorboard'}"
        )
        self.console.print(
            f"next:     anystar predict VOLUME --model {model} --diameter VOXELS", soft_wrap=True
        )

    def _say_stopped(self, trainer: L.Trainer) -> None:
        self.console.print(
            f"stopped after step {trainer.global_step} of {trainer.max_steps}; go on with the same command and\n"
            f"resume={self.folder}",
            soft_wrap=True,
        )
