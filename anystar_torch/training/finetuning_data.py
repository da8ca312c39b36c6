"""The data module of a fine-tuning: synthetic samples and crops of annotated volumes in one sequence of ids."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from anystar_torch.arrays import Sample
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.targets import object_probability, star_distances
from anystar_torch.network.loading import load_model
from anystar_torch.network.stardist import StarDist
from anystar_torch.training.annotated_crops import AnnotatedCrops
from anystar_torch.training.annotated_volumes import AnnotatedVolumes
from anystar_torch.training.annotation import UNKNOWN, read_annotations
from anystar_torch.training.data import Batch, SynthesisData
from anystar_torch.training.held_out import divide


def starting_network(path: str | None) -> StarDist:
    """The network that a fine-tuning starts from.

    Args:
        path: what :func:`anystar_torch.network.loading.load_model` takes; "pretrained" for the shipped weights.

    Raises:
        ValueError: there is no such model, or no path.
    """
    return _start(path)[0]


class FineTuningData(SynthesisData):
    """Makes batches of synthetic samples and of crops of annotated volumes.

    Whether an id is a crop follows from the id and the share alone. At a share of 0.5 every second sample is a crop.
    Validation samples are synthetic.

    Args:
        annotated: arguments of :meth:`~anystar_torch.training.annotation.Annotation.read`, one set per volume.
        annotated_share: share of the crops among the samples, above 0 to 1.
        held_out: share of the objects of a volume that is held out, 0 to 0.5.
        crops: makes crops from ids.
        start: the model that the training starts from, as for :func:`starting_network`. Its rays, grid, anisotropy and
            object size are used. Its anisotropy is also the voxel shape of volumes without voxel size.
        normalisation: of the annotated volumes, and of predictions with the trained network; None for that of the
            start.
        settings: ``synthesizer``, ``batch_size``, ``validation_samples`` and ``samples_per_call`` of
            :class:`~anystar_torch.training.data.SynthesisData`. Its ``rays``, ``anisotropy`` and ``grid`` must be None
            or absent.

    Raises:
        ValueError: an annotation or a setting is wrong.
    """

    def __init__(
        self,
        *,
        annotated: Sequence[Mapping[str, Any]],
        annotated_share: float | int,
        held_out: float | int,
        crops: AnnotatedCrops,
        start: str | None,
        normalisation: str | None = None,
        **settings: Any,
    ) -> None:
        network, self.start_config = _start(start)
        self.start = start
        known = {
            "rays": len(network.rays.vertices),
            "anisotropy": network.rays.anisotropy,
            "grid": network.grid,
        }
        _refuse_others(settings, known)
        normalisation = normalisation or self.start_config.normalisation
        super().__init__(**{**settings, **known}, normalisation=normalisation)
        if not 0 < annotated_share <= 1:
            raise ValueError(f"data.annotated_share must be above 0, to 1, got {annotated_share}")
        self.annotated_share, self.crops = annotated_share, crops
        self.division = divide(read_annotations(annotated, network.rays.anisotropy), held_out)
        self.config = replace(
            self.start_config,
            normalisation=normalisation,
            smallest_tile=min(crops.shape),
            receptive_field=None,
        )
        """Configuration of the trained network: thin volumes are predicted as crops show them. The effective receptive
        field changes with the weights."""
        target = self.start_config.diameter_band[1]
        volumes = AnnotatedVolumes.of(self.division.trained, target, self.normalisation, network.rays)
        self._volumes_on = {torch.device("cpu"): volumes}

    def setup(self, stage: str) -> None:
        """Copy rays and volumes to the training device."""
        super().setup(stage)
        assert self.trainer is not None
        self._volumes(self.trainer.strategy.root_device)

    @torch.no_grad()
    def make(self, ids: Tensor, synthesizer: Synthesizer) -> Batch:
        """Image, labels and targets of the samples ``ids``, on their device.

        Labels are -1 and probabilities are -1 where nothing is annotated.

        Args:
            ids: ``[B]`` int64.
            synthesizer: of the split. Only the split of training has crops.
        """
        if synthesizer.split != self.synthesizer.split:
            return super().make(ids, synthesizer)
        sample = self._mixed(ids, synthesizer)
        objects = sample.labels.clamp_min(0)
        probability = object_probability(objects, self.grid, self.anisotropy)
        z, y, x = self.grid
        probability = torch.where(sample.labels[..., ::z, ::y, ::x] == UNKNOWN, -1.0, probability)
        distances = star_distances(objects, self._rays(ids.device), self.grid)
        return Batch(ids, sample.image, sample.labels, probability, distances)

    def _mixed(self, ids: Int64[Tensor, " b"], synthesizer: Synthesizer) -> Sample:
        """Synthetic samples and crops. On a GPU both are made of every id, so that the host does not wait."""
        chosen = is_crop(ids, self.annotated_share)
        volumes = self._volumes(ids.device)
        if ids.device.type == "cpu":
            rows = chosen.nonzero()[:, 0]
            if len(rows) == len(ids):
                return self.crops(volumes, ids)
            others = (~chosen).nonzero()[:, 0]
            synthetic = synthesizer(ids[others])
            if len(rows) == 0:
                return synthetic
            crops = self.crops(volumes, ids[rows])
            place = torch.cat([others, rows]).argsort()
            return Sample(
                torch.cat([synthetic.image, crops.image])[place],
                torch.cat([synthetic.labels, crops.labels])[place],
            )
        synthetic, crops = synthesizer(ids), self.crops(volumes, ids)
        where = chosen[:, None, None, None, None]
        return Sample(
            torch.where(where, crops.image, synthetic.image),
            torch.where(where, crops.labels, synthetic.labels),
        )

    def _volumes(self, device: torch.device) -> AnnotatedVolumes:
        """The annotated volumes on ``device``. They are copied once."""
        if device not in self._volumes_on:
            self._volumes_on[device] = self._volumes_on[torch.device("cpu")].to(device)
        return self._volumes_on[device]


def is_crop(ids: Int64[Tensor, " b"], share: float | int) -> Bool[Tensor, " b"]:
    """Whether each id is a crop of an annotated volume. Crops are spread evenly over the ids.

    Args:
        ids: ``[B]``.
        share: share of the crops, 0 to 1, used in steps of 1/1000.
    """
    parts = round(1000 * share)
    place = ids % 1000
    return (place + 1) * parts // 1000 > place * parts // 1000


def _refuse_others(settings: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse settings that the network determines.

    Args:
        settings: of the user; None and absent ones are not set.
        known: values of the network.

    Raises:
        ValueError: one is set.
    """
    for name, own in known.items():
        if settings.get(name) is not None:
            raise ValueError(
                f"data.{name} must be null in a fine-tuning, got {settings[name]}: it is that of the first network, "
                f"{own}; leave data.{name} out, or start from another model with warm_start="
            )


def _start(path: str | None) -> tuple[StarDist, Any]:
    """The network of a fine-tuning and its configuration."""
    if path is None:
        raise ValueError("fine-tuning starts from a model: set warm_start=pretrained or to a model folder")
    return load_model(None if path == "pretrained" else Path(path))
