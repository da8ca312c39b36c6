"""The report at the end of a training: it chooses thresholds, scores the network, exports it and prints the results.

Thresholds are chosen on samples of the split "validation". Scores are computed on samples of the split "report". The
real volume determines nothing.
"""

import importlib.util
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.table import Table

from anystar_torch import __version__
from anystar_torch.evaluation import picture
from anystar_torch.generator.parameters import check_whole
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import weights
from anystar_torch.network.mean_weights import mean_weights
from anystar_torch.network.provenance import Provenance
from anystar_torch.network.stardist import StarDist
from anystar_torch.system.progress import bar
from anystar_torch.system.wording import number_of
from anystar_torch.training.checkpoints import BEST, LAST, averaged_weights
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training
from anystar_torch.training.object_sizes import diameter_band, median_diameter
from anystar_torch.training.report_volume import RealVolume, real_volume
from anystar_torch.training.resuming import read_checkpoint
from anystar_torch.training.start_notes import start_notes
from anystar_torch.training.thresholds import (
    NMS_THRESHOLDS,
    PROB_THRESHOLDS,
    Choice,
    Pair,
    Scores,
    best,
    evaluate,
    scores_of,
)

FAILED = 1
"""Exit status of a run whose network learned nothing."""

STOPPED = 130
"""Exit status of a run that a signal stopped."""

EXAMPLE_SPACING = (2.0, 1.0, 1.0)
"""Relative voxel size of the volume in the stardist package, whose file has none."""


def example_volume() -> tuple[Path, Path] | None:
    """Paths of image and labels of the example volume in the ``stardist`` package; None if it is not installed."""
    spec = importlib.util.find_spec("stardist")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "data" / "images"
    return folder / "img3d.tif", folder / "mask3d.tif"


class Report:
    """Choose thresholds, score and export the network, and segment a real volume.

    Args:
        folder: the run folder.
        export: "weights" is "last" or "best", which weights are exported (averaged if the run averages them). "recipe"
            is the name of the recipe in the provenance of the model. "smallest_tile" is the setting of the model's
            configuration of that name, 0 if it is missing. "earlier_stages" are run folders whose steps are counted
            as well. "averaged_with" are run folders; the model gets the mean of their averaged weights and its own.
            These are the last ones, or the best ones, of every folder and of this run.
        samples: number of synthetic samples that are scored, and that determine the thresholds.
        min_f1: smallest F1 at IoU 0.3 on the scored samples of a network that learned something.
        image: file of a real volume to segment; None for the example in the ``stardist`` package, if it is installed.
        truth: file of its labels; None if there are none.
        diameter: diameter of its median object, in voxels of the finest axis or with a unit ("8um"); None to measure it
            on the truth.
        spacing: its voxel size (z, y, x) in micrometres; None for the file's own.
        choice: ``channel``, ``frame``, ``axes`` and ``scene`` of the real volume, as for :func:`anystar_torch.io.read`,
            and ``truth_channel``, ``truth_frame``, ``truth_axes`` and ``truth_scene`` of its labels.

    Raises:
        ValueError: a number is not valid, the weights to export are neither "last" nor "best", labels are given without
            their volume, or the real volume cannot be read.
    """

    def __init__(
        self,
        *,
        folder: str,
        export: Mapping[str, Any],
        samples: int,
        min_f1: float | int,
        image: str | None,
        truth: str | None,
        diameter: float | int | str | None,
        spacing: Sequence[float | int] | None,
        **choice: Any,
    ) -> None:
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"report.samples must be at least 1 and a whole number, got {samples}")
        if not isinstance(min_f1, (int, float)):
            raise ValueError(f"report.min_f1 must be a number, got {min_f1!r}")
        check_whole("report.export.smallest_tile", export.get("smallest_tile", 0), 0)
        if export["weights"] not in ("last", "best"):
            raise ValueError(f"report.export.weights must be last or best, got {export['weights']!r}")
        self.export = export
        self.folder, self.samples, self.min_f1 = Path(folder), samples, min_f1
        self.diameter, self.spacing = diameter, spacing
        self.real = real_volume(image, truth, spacing, diameter, choice)
        self.next_diameter = "VOXELS"  # in the command that is printed at the end
        self.device = "auto"  # of predictions; that of the training once there is one
        self.console = Console(markup=False)  # paths may have brackets

    def __call__(self, trainer: L.Trainer, training: Training, data: SynthesisData) -> int:
        """Report on a completed or stopped training.

        Args:
            trainer: the trainer of the run.
            training: the trained network.
            data: the data module of the run.

        Returns:
            Exit status of the run: 0, :data:`FAILED` or :data:`STOPPED`.
        """
        if not trainer.is_global_zero:  # one rank reports for all
            return 0
        if trainer.global_step < trainer.max_steps:
            self._print_stopped(trainer)
            return STOPPED
        self.device = str(trainer.strategy.root_device)
        model, score = self._export(trainer, training, data)
        self._segment_real(model)
        self._print_files()
        if score < self.min_f1:
            self.console.print(
                f"The network learned nothing: F1 at IoU 0.3 is {score:.2f}, below {self.min_f1}. "
                "Train longer (trainer.max_steps), or check the samples (samples.png).",
                style="red",
            )
            return FAILED
        return 0

    def _export(self, trainer: L.Trainer, training: Training, data: SynthesisData) -> tuple[AnyStar, float]:
        """The exported model with its chosen thresholds, and its F1 at IoU 0.3."""
        network = training.network.cpu().float().eval()
        self._load_weights(network, self._exported(data))
        config = weights.ModelConfig(
            architecture=network.architecture,
            normalisation=data.normalisation,
            diameter_band=diameter_band(data.validation),
            prob_thresh=0.5,
            nms_thresh=NMS_THRESHOLDS[0],
            smallest_tile=self.export.get("smallest_tile", 0),
        )
        model = AnyStar(network, config)
        pairs = self._pairs(data.validation, "choosing thresholds")
        choice = best(evaluate(model, pairs, PROB_THRESHOLDS, NMS_THRESHOLDS, self.device))
        model = AnyStar(
            network, replace(config, prob_thresh=choice.prob_thresh, nms_thresh=choice.nms_thresh)
        )
        scores = self._score_synthetic(model, data.synthesizer)
        provenance = self._provenance(trainer, data, scores)
        config = replace(model.config, receptive_field=model.tile_network("cpu").halo, provenance=provenance)
        weights.save(self.folder / "model", network, config)
        return model, scores[0.3].f1

    def _exported(self, data: SynthesisData) -> str:
        """Which weights are exported: "last" or "best". A run or a branch without a validation has no best ones."""
        bests = [self.folder / "checkpoints" / BEST, *self._checkpoints("averaged_with", BEST)]
        return "best" if self.export["weights"] == "best" and all(one.is_file() for one in bests) else "last"

    def _load_weights(self, network: StarDist, which: str) -> None:
        """Load the weights to export into the network, which has the last ones of this run."""
        name = BEST if which == "best" else LAST
        if name == BEST:
            network.load_state_dict(averaged_weights(self.folder / "checkpoints" / BEST))
        if others := self._checkpoints("averaged_with", name):
            network.load_state_dict(mean_weights([network.state_dict(), *map(averaged_weights, others)]))

    def _provenance(self, trainer: L.Trainer, data: SynthesisData, scores: Scores) -> Provenance:
        return Provenance(
            version=__version__,
            recipe=self.export["recipe"],
            seed=data.synthesizer.seed,
            steps=trainer.global_step
            + sum(read_checkpoint(path)["global_step"] for path in self._checkpoints("earlier_stages", LAST)),
            weights=self._exported(data),
            batch_size=data.batch_size * trainer.world_size,
            command=_command(),
            synthetic_f1={f"{thresh:g}": round(score.f1, 4) for thresh, score in scores.items()},
            notes=start_notes(self.folder),
        )

    def _checkpoints(self, which: str, name: str) -> list[Path]:
        """Checkpoints called ``name`` of the run folders that ``export`` lists under ``which``."""
        return [Path(folder, "checkpoints", name) for folder in self.export.get(which) or []]

    def _pairs(self, synthesizer: Synthesizer, doing: str) -> Iterator[Pair]:
        """Image and labels of the scored samples, made in small batches with a progress bar."""
        with bar(doing) as tick:
            for ids in torch.split(torch.arange(self.samples), 4):
                sample = synthesizer(ids)
                for number, image, labels in zip(ids.tolist(), sample.image, sample.labels, strict=True):
                    tick(number, self.samples)
                    yield image[0].numpy(), labels[0].numpy()

    def _score_synthetic(self, model: AnyStar, synthesizer: Synthesizer) -> Scores:
        config = model.config
        pairs = self._pairs(synthesizer.on("report"), "scoring")
        thresholds = [config.prob_thresh], [config.nms_thresh]
        choice: Choice = evaluate(model, pairs, *thresholds, self.device)[0]
        scored = number_of(self.samples, "synthetic volume")
        self._print_table(f"{scored} of the split report, mean scores", choice.scores)
        self.console.print(
            f"thresholds: prob_thresh {config.prob_thresh:g}, nms_thresh {config.nms_thresh:g}"
        )
        return choice.scores

    def _segment_real(self, model: AnyStar) -> None:
        real = self.real or self._example()
        if real is None:
            self.console.print(
                "no real volume: set report.image=FILE, or install stardist for its example volume"
            )
            return
        path, scan, truth = real
        spacing = scan.spacing or model.network.rays.anisotropy
        diameter = self.diameter or (None if truth is None else median_diameter(truth, spacing))
        found = model.predict(scan.array, spacing=spacing, diameter=diameter, device=self.device)
        self.console.print(
            f"{path}: {number_of(len(found), 'object')}, diameter {found.diameter:.1f} voxels", soft_wrap=True
        )
        if truth is not None:
            self._print_table(f"{Path(path).name} against its true labels", scores_of(truth, found.labels))
        shown = picture.planes(
            scan.array, truth, found.labels, path=self.folder / "real.png", spacing=spacing
        )
        self.console.print(f"picture: {shown}", soft_wrap=True)

    def _example(self) -> RealVolume | None:
        """The example volume; None if it is not installed."""
        paths = example_volume()
        if paths is None:
            return None
        image, truth = map(str, paths)
        real = real_volume(image, truth, self.spacing, self.diameter, {})
        if real is None or self.spacing:
            return real
        return real._replace(scan=replace(real.scan, spacing=EXAMPLE_SPACING))

    def _print_table(self, title: str, scores: Scores) -> None:
        table = Table(
            "IoU", "F1", "AP", "precision", "recall", "true", "found", title=title, title_justify="left"
        )
        for thresh, score in scores.items():
            ratios = (score.f1, score.accuracy, score.precision, score.recall)
            table.add_row(f"{thresh:g}", *(f"{r:.3f}" for r in ratios), str(score.n_true), str(score.n_pred))
        self.console.print(table)

    def _print_files(self) -> None:
        """Print the files of the run, and the commands to continue with."""
        there = {
            "network": ["model"],
            "checkpoints": [f"checkpoints/{LAST}", f"checkpoints/{BEST}"],
            "pictures": ["samples.png", "predictions.png", "real.png"],
            "settings": [".hydra/config.yaml"],
            "figures": ["csv"],
        }
        self.console.print()
        for title, names in there.items():
            for path in [self.folder / name for name in names if (self.folder / name).exists()]:
                self.console.print(f"{title:12s} {path}", soft_wrap=True, highlight=False)
        self.console.print(f"curves       tensorboard --logdir {self.folder / 'tensorboard'}", soft_wrap=True)
        self.console.print(
            f"next         anystar predict VOLUME --model {self.folder / 'model'} --diameter {self.next_diameter}",
            soft_wrap=True,
        )

    def _print_stopped(self, trainer: L.Trainer) -> None:
        self.console.print(
            f"stopped after step {trainer.global_step} of {trainer.max_steps}; its state is in "
            f"{self.folder / 'checkpoints' / LAST}; to resume it, repeat the command with\n"
            f"resume={self.folder}",
            soft_wrap=True,
        )


def _command() -> str:
    """The command of this process as it was given: a script after "python", an installed program without its folder."""
    program = Path(sys.argv[0])
    first = ["python", sys.argv[0]] if program.suffix == ".py" else [program.name]
    return shlex.join([*first, *sys.argv[1:]])
