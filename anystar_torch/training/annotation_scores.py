"""Scores of a network on annotated parts of volumes, with the post-processing of prediction.

Only the surroundings of the annotated voxels are predicted, with the intensity range of the whole volume. A predicted
object of which more than half lies on voxels that are not annotated is left out.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32
from scipy import ndimage

from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.input_volume import InputVolume, diameter_in_voxels
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.stages import Settings, find_candidates, find_instances
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.system.device import resolve
from anystar_torch.training.annotation import UNKNOWN, Annotation
from anystar_torch.training.thresholds import Choice, Scores, mean_scores, scores_of

MARGIN = 3.0
"""Surroundings that are predicted beyond the annotated voxels, in diameters of the median object."""


@dataclass(frozen=True)
class AnnotatedPart:
    """The surroundings of the annotated voxels of a volume.

    Attributes:
        place: slices of the volume.
        labels: labels of the part.
        volume: voxels of the part, with the intensity range of the whole volume.
        diameter: of the median object, in voxels of the finest axis.
    """

    place: tuple[slice, ...]
    labels: Int32[np.ndarray, "d h w"]
    volume: InputVolume
    diameter: float

    @classmethod
    def of(cls, annotation: Annotation, normalisation: str) -> "AnnotatedPart":
        """The part of a volume.

        Args:
            annotation: the volume, with at least one annotated voxel.
            normalisation: name of the normalisation of the network.
        """
        diameter = diameter_in_voxels(annotation.diameter, annotation.spacing)
        steps = np.array(annotation.spacing) / min(annotation.spacing)
        margin = np.ceil(MARGIN * diameter / steps).astype(int)
        (known,) = ndimage.find_objects((annotation.labels != UNKNOWN).astype(np.int8))
        place = tuple(
            slice(max(0, side.start - around), min(size, side.stop + around))
            for side, around, size in zip(known, margin.tolist(), annotation.labels.shape, strict=True)
        )
        intensities = intensity_range(annotation.image, normalisation)
        volume = InputVolume(annotation.image[place], annotation.spacing, intensities)
        return cls(place, annotation.labels[place], volume, diameter)

    def candidates(self, model: AnyStar, prob_thresh: float, device: str = "auto") -> Candidates:
        """The candidates of the part.

        Args:
            model: the model.
            prob_thresh: candidates have a higher score.
            device: device of the prediction, as for :meth:`AnyStar.predict`.
        """
        place = resolve(device)
        here = next(model.network.parameters()).device == place
        network = model.network if here else copy.deepcopy(model.network).to(place)
        tile_network = TileNetwork(
            network,
            place,
            receptive_field=model.config.receptive_field,
            smallest_tile=model.config.smallest_tile,
        )
        settings = Settings(tile_network, model.config, coarse_pass=model.coarse_pass)
        return find_candidates(self.volume, self.diameter, prob_thresh, settings)


def without_unknown(
    truth: Int32[np.ndarray, "d h w"], prediction: Int32[np.ndarray, "d h w"]
) -> Int32[np.ndarray, "d h w"]:
    """The predicted objects that can be judged: at least half of their voxels are annotated.

    Args:
        truth: labels with :data:`~anystar_torch.training.annotation.UNKNOWN`.
        prediction: predicted labels.
    """
    size = np.bincount(prediction.reshape(-1))
    outside = np.bincount(prediction[truth == UNKNOWN], minlength=size.size)
    return np.where((2 * outside > size)[prediction], np.int32(0), prediction)


def score_annotations(
    model: AnyStar,
    annotations: Sequence[Annotation],
    prob_threshs: Sequence[float],
    nms_threshs: Sequence[float],
    device: str = "auto",
) -> list[Choice]:
    """Mean scores on annotated volumes for every combination of thresholds.

    Args:
        model: the model.
        annotations: the volumes.
        prob_threshs: probability thresholds to try.
        nms_threshs: overlap thresholds to try.
        device: device of the prediction, as for :meth:`AnyStar.predict`.
    """
    found: dict[tuple[float, float], list[Scores]] = {}
    for annotation in annotations:
        part = AnnotatedPart.of(annotation, model.config.normalisation)
        candidates = part.candidates(model, min(prob_threshs), device)
        truth = part.labels.clip(0)
        for nms in nms_threshs:
            objects = find_instances(candidates, nms, shape_averaging=model.shape_averaging)
            for prob in prob_threshs:
                kept = int(np.count_nonzero(objects.scores > prob))
                labels = np.where(objects.labels <= kept, objects.labels, np.int32(0))
                judged = without_unknown(part.labels, labels)
                found.setdefault((prob, nms), []).append(scores_of(truth, judged))
    return [Choice(prob, nms, mean_scores(scores)) for (prob, nms), scores in found.items()]


def nearest_best(choices: Sequence[Choice], prob_thresh: float, tolerance: float = 0.01) -> Choice:
    """Of the choices whose mean AP is within a tolerance of the highest one, the one nearest to a threshold.

    A few objects have the same AP over a range of thresholds.

    Args:
        choices: at least one.
        prob_thresh: the threshold.
        tolerance: in AP.
    """
    highest = max(choice.accuracy for choice in choices)
    good = [choice for choice in choices if choice.accuracy >= highest - tolerance]
    return min(good, key=lambda choice: abs(choice.prob_thresh - prob_thresh))
