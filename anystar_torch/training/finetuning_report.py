"""The report at the end of a fine-tuning: the network before and after, on the annotation and on synthetic samples."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import numpy as np
from rich.table import Table

from anystar_torch.evaluation import picture
from anystar_torch.evaluation.matching import IOU_THRESHOLDS
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.stages import find_instances
from anystar_torch.io.atomic import atomic_write
from anystar_torch.network import weights
from anystar_torch.network.mean_weights import mean_weights
from anystar_torch.network.provenance import FINE_TUNED_ON
from anystar_torch.system.wording import number_of
from anystar_torch.training.annotation import Annotation
from anystar_torch.training.annotation_scores import (
    AnnotatedPart,
    nearest_best,
    score_annotations,
    without_unknown,
)
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.finetuning_data import FineTuningData, starting_network
from anystar_torch.training.module import Training
from anystar_torch.training.report import Report
from anystar_torch.training.thresholds import NMS_THRESHOLDS, PROB_THRESHOLDS, Choice, Pair, evaluate

LEAST_FOR_THRESHOLDS = 4
"""Held-out objects from which thresholds are chosen on them."""

SCORES = "finetuning.json"
"""File of the scores before and after, in the run folder."""


@dataclass(frozen=True)
class Compared:
    """Scores of a network before and after fine-tuning.

    Attributes:
        title: what was scored.
        before: scores of the network that the training started from, at its own thresholds.
        after: scores of the fine-tuned network at its thresholds.
    """

    title: str
    before: Choice
    after: Choice

    def as_dict(self) -> dict[str, Any]:
        """Scores by their names, for JSON."""
        return {"scored on": self.title, "before": _f1(self.before), "after": _f1(self.after)}


class FineTuningReport(Report):
    """Choose the thresholds, export the network, and compare it with the network that the training started from.

    Arguments are those of :class:`~anystar_torch.training.report.Report`. ``samples`` synthetic samples are compared.
    ``export`` may have "trained_share", above 0 to 1: the exported weights are this share of the trained ones and, for
    the rest, the first ones (Wortsman et al. 2022). It is 1 if it is missing. Where nothing is held out, the last
    weights are exported also if "weights" is "best".

    Raises:
        ValueError: the share is outside of this range.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.trained_share = float(self.export.get("trained_share", 1))
        if not 0 < self.trained_share <= 1:
            raise ValueError(f"report.export.trained_share must be above 0, to 1, got {self.trained_share}")

    def _export(self, trainer: L.Trainer, training: Training, data: SynthesisData) -> tuple[AnyStar, float]:
        """The exported model, and its F1 at IoU 0.3 on synthetic samples."""
        assert isinstance(data, FineTuningData)
        network = training.network.cpu().float().eval()
        self._load_weights(network, self._exported(data))
        first = starting_network(data.start)
        before = AnyStar(first, data.start_config)
        if self.trained_share < 1:
            both = [one.state_dict() for one in (first.cpu(), network)]
            network.load_state_dict(mean_weights(both, [1 - self.trained_share, self.trained_share]))
        after = self._with_thresholds(AnyStar(network, data.config), data)
        compared = self._compare(before, after, data)
        synthetic = compared[-1].after.scores
        provenance = self._provenance(trainer, data, synthetic)
        notes: dict[str, Any] = {"start": data.start, "trained_share": self.trained_share}
        notes |= {FINE_TUNED_ON: [a.name for a in data.division.trained]}
        config = replace(
            after.config,
            receptive_field=after.tile_network("cpu").halo,
            provenance=replace(provenance, notes={**provenance.notes, **notes}),
        )
        weights.save(self.folder / "model", after.network, config)
        sizes = {one if isinstance(one := a.diameter, str) else f"{one:.3g}" for a in data.division.trained}
        if len(sizes) == 1:  # of several sizes, none suits all volumes
            self.next_diameter = shlex.quote(sizes.pop())
        return after, synthetic[0.3].f1

    def _exported(self, data: SynthesisData) -> str:
        """Which weights are exported. Without a held-out part nothing can tell which are the best."""
        assert isinstance(data, FineTuningData)
        return super()._exported(data) if data.division.held_out else "last"

    def _with_thresholds(self, model: AnyStar, data: FineTuningData) -> AnyStar:
        """The model with thresholds chosen on the held-out part, or with those of the start."""
        config, held_out = model.config, data.division.held_out
        counted = [annotation for annotation in held_out if not annotation.objects_only]
        objects = sum(len(annotation.objects) for annotation in counted)
        if objects < LEAST_FOR_THRESHOLDS:
            self.console.print(
                f"thresholds: those of {data.start}, because too little is annotated to choose others",
                soft_wrap=True,
            )
            return model
        choices = score_annotations(model, counted, PROB_THRESHOLDS, NMS_THRESHOLDS, self.device)
        choice = nearest_best(choices, config.prob_thresh)
        self.console.print(f"thresholds: chosen on {number_of(objects, 'held-out object')}", soft_wrap=True)
        return AnyStar(
            model.network, replace(config, prob_thresh=choice.prob_thresh, nms_thresh=choice.nms_thresh)
        )

    def _compare(self, before: AnyStar, after: AnyStar, data: FineTuningData) -> list[Compared]:
        """Scores of both networks on the annotation and, last, on synthetic samples; printed, stored and drawn."""
        held_out = data.division.held_out
        parts = held_out or data.division.trained
        objects = sum(len(part.objects) for part in parts)
        title = number_of(objects, "held-out object")
        if not held_out:
            title = f"{number_of(objects, 'object')} that were trained on"
        compared = [Compared(title, *(self._on_annotation(model, parts) for model in (before, after)))]
        pairs = list(self._pairs(data.synthesizer.on("report"), "scoring"))
        title = number_of(self.samples, "synthetic volume")
        compared.append(Compared(title, *(self._on_synthetic(model, pairs) for model in (before, after))))
        self._print_comparison(compared, held_out)
        for number, part in enumerate(parts):
            name = f"annotation_{number}_{part.name}" if len(parts) > 1 else "annotation"
            for when, model in (("before", before), ("after", after)):
                self._draw(model, part, f"{name}_{when}.png")
        self._draw_synthetic(before, after, pairs[:4])
        content = {"thresholds": _thresholds(after), "scores": [one.as_dict() for one in compared]}
        with atomic_write(self.folder / SCORES) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return compared

    def _on_annotation(self, model: AnyStar, annotations: Sequence[Annotation]) -> Choice:
        """Scores on annotated volumes at the thresholds of the model."""
        thresholds = [model.config.prob_thresh], [model.config.nms_thresh]
        return score_annotations(model, annotations, *thresholds, self.device)[0]

    def _on_synthetic(self, model: AnyStar, pairs: Sequence[Pair]) -> Choice:
        """Scores on synthetic volumes at the thresholds of the model."""
        return evaluate(model, pairs, [model.config.prob_thresh], [model.config.nms_thresh], self.device)[0]

    def _print_comparison(self, compared: Sequence[Compared], held_out: Sequence[Annotation]) -> None:
        if not held_out:
            self.console.print(
                "nothing was held out, because no volume has ten annotated objects: the last weights are exported, and "
                "scores on the annotation are too good",
                soft_wrap=True,
            )
        table = Table("F1 before and after on", *(f"IoU {t:g}" for t in IOU_THRESHOLDS))
        for one in compared:
            pairs = [(one.before.scores[t].f1, one.after.scores[t].f1) for t in IOU_THRESHOLDS]
            table.add_row(one.title, *(f"{before:.2f} {after:.2f}" for before, after in pairs))
        self.console.print(table)
        first = compared[0]
        if first.after.accuracy < first.before.accuracy:
            self.console.print(
                "The network became worse on the annotation. Check annotation_before.png and "
                "annotation_after.png, or train with a lower training.optimizer.lr.",
                style="red",
            )

    def _draw(self, model: AnyStar, annotation: Annotation, name: str) -> None:
        """Write a picture of the annotated part with annotated and predicted outlines."""
        part = AnnotatedPart.of(annotation, model.config.normalisation)
        found = find_instances(
            part.candidates(model, model.config.prob_thresh, self.device),
            model.config.nms_thresh,
            shape_averaging=model.shape_averaging,
        )
        prediction = without_unknown(part.labels, found.labels)
        path, spacing = self.folder / name, part.volume.spacing
        image = annotation.image[part.place]
        picture.planes(image, part.labels.clip(0), prediction, path=path, spacing=spacing)

    def _draw_synthetic(self, before: AnyStar, after: AnyStar, pairs: Sequence[Pair]) -> None:
        """Write a picture of synthetic samples with true outlines and those of both networks."""
        settings: dict[str, Any] = {"diameter": before.config.diameter_band[1], "device": self.device}
        columns = [
            [
                picture.Panel("truth", image, truth),
                *(
                    picture.Panel(name, image, model.predict(image, progress=False, **settings).labels)
                    for name, model in (("before", before), ("after", after))
                ),
            ]
            for image, truth in pairs
        ]
        picture.columns(columns, self.folder / "synthetic_before_after.png")

    def _segment_real(self, model: AnyStar) -> None:
        """Segment the real volume of the settings, if there is one."""
        if self.real is not None:
            super()._segment_real(model)

    def _print_files(self) -> None:
        """Print the files of the comparison, then those of every run."""
        for name in [*(path.name for path in sorted(self.folder.glob("*_*.png"))), SCORES]:
            self.console.print(f"{'comparison':12s} {self.folder / name}", soft_wrap=True, highlight=False)
        super()._print_files()


def _f1(choice: Choice) -> dict[str, float]:
    """F1 by IoU threshold."""
    return {f"{thresh:g}": round(float(np.float64(score.f1)), 4) for thresh, score in choice.scores.items()}


def _thresholds(model: AnyStar) -> dict[str, float]:
    return {"prob_thresh": model.config.prob_thresh, "nms_thresh": model.config.nms_thresh}
