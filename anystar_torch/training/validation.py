"""Scores of whole objects during a training, computed with the post-processing of prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Int32, Shaped
from lightning.pytorch.callbacks import Callback, WeightAveraging

from anystar_torch import io
from anystar_torch.arrays import Spacing
from anystar_torch.evaluation import picture
from anystar_torch.evaluation.matching import IOU_THRESHOLDS
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network.weights import ModelConfig
from anystar_torch.training.data import Batch, SynthesisData
from anystar_torch.training.loggers import log_picture
from anystar_torch.training.object_sizes import diameter_band, median_diameter
from anystar_torch.training.thresholds import (
    NMS_THRESHOLDS,
    PROB_THRESHOLDS,
    Pair,
    evaluate,
    scores_of,
)
from anystar_torch.training.volume_files import (
    VolumeFiles,
    check_diameter,
    check_keys,
    check_measurable,
    choosing,
)


@dataclass(frozen=True, kw_only=True)
class AnnotatedVolume:
    """A real volume with true labels, scored during a training.

    Attributes:
        name: name of its scores in the log.
        image: grey values, (z, y, x).
        truth: labels, (z, y, x).
        spacing: voxel size (z, y, x); None where it is not known.
        diameter: diameter of its median object, in voxels of the finest axis or with a unit ("8um"); None if it is
            measured on the truth.
    """

    name: str
    image: Shaped[np.ndarray, "d h w"]
    truth: Int32[np.ndarray, "d h w"]
    spacing: Spacing | None
    diameter: float | int | str | None

    @classmethod
    def read(
        cls,
        *,
        image: str,
        truth: str,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        name: str | None = None,
        **choice: Any,
    ) -> "AnnotatedVolume":
        """Read a volume and its labels. Where both files have a place in space, the labels are turned to the volume.

        Args:
            image: file or folder of the volume.
            truth: file or folder of the labels.
            spacing: voxel size (z, y, x) in micrometres; None for the file's own, or the voxel shape of the network if
                the file has none.
            diameter: diameter of the median object, in voxels of the finest axis or with a unit ("8um"); None to
                measure it on the truth.
            name: name in the log; None for the name of the file, or of its folder if the file is called "image".
            choice: ``channel``, ``frame``, ``axes`` and ``scene`` of the volume, as for :func:`anystar_torch.io.read`,
                and ``truth_channel``, ``truth_frame``, ``truth_axes`` and ``truth_scene`` of the labels.

        Raises:
            ValueError: a file cannot be read, the files are not of one volume, the diameter has a unit and the voxel
                size is not known, there is neither a diameter nor an object, or a key is unknown.
        """
        check_keys(choice, ("image", "truth", "spacing", "diameter", "name", *choosing("truth")))
        scan, labels = VolumeFiles.of(image, truth, choice, "truth").read(spacing)
        check_diameter(diameter, scan, image)
        ids = io.int32_ids(labels.array)
        check_measurable(diameter, ids, truth)
        path = Path(image)
        return cls(
            name=name or (path.parent.name if path.stem == "image" else path.stem),
            image=scan.array,
            truth=ids,
            spacing=scan.spacing,
            diameter=diameter,
        )

    def sized(self, anisotropy: Spacing) -> tuple[Spacing, float | int | str]:
        """Voxel size and diameter of the median object.

        Args:
            anisotropy: voxel shape (z, y, x) of a volume without voxel size: that of the network.
        """
        voxel = self.spacing or anisotropy
        return voxel, median_diameter(self.truth, voxel) if self.diameter is None else self.diameter


class InstanceScores(Callback):
    """Log F1 and AP of whole objects at every validation, and pictures of predictions.

    Synthetic samples: means over the volumes at the probability threshold with the highest AP, averaged over the IoU
    thresholds. They are logged as ``val_f1/0.5``, ``val_ap/0.5`` and so on, the average as ``val_ap`` and the threshold
    as ``val_prob_thresh``.

    Real volumes: scores at the same threshold. ``real_f1/0.5``, ``real_ap`` and so on are means over the volumes,
    ``real_f1/NAME/0.5`` belongs to one volume. They determine no threshold. They determine the best checkpoint only if
    its monitor is one of them.

    This callback must precede weight averaging, which removes the averaged weights at the end of a validation.

    Args:
        folder: folder of the pictures.
        samples: number of validation ids that are scored.
        pictures: number of validation ids whose predictions are shown.
        real: arguments of :meth:`AnnotatedVolume.read`, one set per volume.

    Raises:
        ValueError: no samples, a volume that cannot be read or has an unknown key, or two volumes of one name.
        TypeError: a volume without image or truth.
    """

    def __init__(
        self, *, folder: str, samples: int, pictures: int, real: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        if samples < 1:
            raise ValueError(f"callbacks.scores.samples must be at least 1, got {samples}")
        self.folder, self.samples, self.pictures = Path(folder), samples, pictures
        self.real = [AnnotatedVolume.read(**volume) for volume in real]
        names = [volume.name for volume in self.real]
        if len(set(names)) < len(names):
            raise ValueError(f"real volumes need different names, got {names}; set the name of each volume")
        self._pairs: list[Pair] = []
        self._complete = False
        self._band: tuple[float, float, float] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check the order of the callbacks.

        Raises:
            ValueError: weight averaging precedes this callback.
        """
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        before = callbacks[: callbacks.index(self)]
        if any(isinstance(callback, WeightAveraging) for callback in before):
            raise ValueError(
                "callbacks.scores must precede callbacks.average; otherwise it scores the weights without averaging"
            )

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the samples of the last validation."""
        self._pairs, self._complete = [], False

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the samples to score. Ids ascend, so later batches need not be read from the device."""
        if self._complete:
            return
        for number, image, labels in zip(batch.ids.tolist(), batch.image, batch.labels, strict=True):
            if number < self.samples:
                self._pairs.append((image[0].cpu().numpy(), labels[0].cpu().numpy()))
            else:
                self._complete = True

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the samples and log the scores. Each rank scores a part of the volumes."""
        if trainer.sanity_checking:
            return
        model = self._model(trainer, pl_module)
        figures, prob_thresh = self._synthetic(trainer, model)
        if self.real:
            figures |= self._on_real(trainer, model, prob_thresh)
        pl_module.log_dict(figures, sync_dist=True)
        if trainer.is_global_zero and self.pictures:
            path = self._picture(model, prob_thresh)
            log_picture(trainer.loggers, "predictions", path, trainer.global_step)
        self._pairs = []

    def _model(self, trainer: L.Trainer, pl_module: L.LightningModule) -> AnyStar:
        data: SynthesisData = trainer.datamodule  # type: ignore[attr-defined]
        if self._band is None:  # only real volumes are rescaled, to the median of the band
            self._band = diameter_band(data.validation) if self.real else (1.0, 1.0, 1.0)
        network: Any = pl_module.network
        config = ModelConfig(
            architecture=network.architecture,
            normalisation=data.normalisation,
            diameter_band=self._band,
            prob_thresh=0.5,
            nms_thresh=NMS_THRESHOLDS[0],
        )
        # No coarse pass: the scores are those of the network alone.
        return AnyStar(network, config, coarse_pass=False)

    def _synthetic(self, trainer: L.Trainer, model: AnyStar) -> tuple[dict[str, float], float]:
        """The mean scores of the synthetic samples at the best threshold, and that threshold."""
        device = str(next(model.network.parameters()).device)
        choices = evaluate(model, self._pairs, PROB_THRESHOLDS, NMS_THRESHOLDS[:1], device=device)
        sums = torch.zeros(len(PROB_THRESHOLDS), len(IOU_THRESHOLDS), 2)
        for row, choice in zip(sums, choices, strict=False):  # a rank without samples has no choices
            row += len(self._pairs) * torch.tensor([[s.f1, s.accuracy] for s in choice.scores.values()])
        means = _summed(trainer, sums) / _summed(trainer, torch.tensor(float(len(self._pairs))))
        best = int(means[..., 1].mean(1).argmax())
        prob_thresh = PROB_THRESHOLDS[best]
        return {**_named("val", "", means[best]), "val_prob_thresh": prob_thresh}, prob_thresh

    def _on_real(self, trainer: L.Trainer, model: AnyStar, prob_thresh: float) -> dict[str, float]:
        """Mean and individual scores of the real volumes. Each rank predicts a part of them."""
        device = str(next(model.network.parameters()).device)
        scores = torch.zeros(len(self.real), len(IOU_THRESHOLDS), 2)
        for index in range(trainer.global_rank, len(self.real), trainer.world_size):
            volume = self.real[index]
            spacing, diameter = volume.sized(model.network.rays.anisotropy)
            found = model.predict(
                volume.image,
                spacing=spacing,
                diameter=diameter,
                prob_thresh=prob_thresh,
                device=device,
                progress=False,
            )
            each = scores_of(volume.truth, found.labels).values()
            scores[index] = torch.tensor([[s.f1, s.accuracy] for s in each])
            if self.pictures:
                path = self.folder / f"real_{volume.name}.png"
                picture.planes(volume.image, volume.truth, found.labels, path=path, spacing=spacing)
                log_picture(trainer.loggers, f"real/{volume.name}", path, trainer.global_step)
        scores = _summed(trainer, scores)
        figures = _named("real", "", scores.mean(0))
        for volume, each_scores in zip(self.real, scores, strict=True):
            figures |= _named("real", f"{volume.name}/", each_scores)
        return figures

    def _picture(self, model: AnyStar, prob_thresh: float) -> Path:
        device = str(next(model.network.parameters()).device)
        middle = model.config.diameter_band[1]
        shown = []
        for image, labels in self._pairs[: self.pictures]:
            found = model.predict(
                image, diameter=middle, prob_thresh=prob_thresh, device=device, progress=False
            )
            shown.append(
                [
                    picture.Panel("truth", image, labels),
                    picture.Panel("prediction", image, found.labels),
                ]
            )
        return picture.columns(shown, self.folder / "predictions.png")


def _summed(trainer: L.Trainer, table: torch.Tensor) -> torch.Tensor:
    """The sum of ``table`` over the ranks."""
    total = trainer.strategy.reduce(table.to(trainer.strategy.root_device), reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total.cpu()


def _named(kind: str, volume: str, scores: torch.Tensor) -> dict[str, float]:
    """Scores ``[IoU thresholds, (F1, AP)]`` by their names in the log, with the mean AP."""
    figures = {}
    for thresh, (f1, ap) in zip(IOU_THRESHOLDS, scores.tolist(), strict=True):
        figures[f"{kind}_f1/{volume}{thresh:g}"] = f1
        figures[f"{kind}_ap/{volume}{thresh:g}"] = ap
    return {**figures, f"{kind}_ap{'/' + volume.rstrip('/') if volume else ''}": float(scores[:, 1].mean())}
