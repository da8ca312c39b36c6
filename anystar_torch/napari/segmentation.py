"""The result of a run: candidates of every time point, objects at the present thresholds, and their run record."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from anystar_torch import io
from anystar_torch.cli.predict import settings_record
from anystar_torch.cli.segment import remarks, with_results
from anystar_torch.inference.instances import Instances
from anystar_torch.inference.live import LiveObjects
from anystar_torch.io import RunRecord, SpatialImage
from anystar_torch.io.identity import checksum
from anystar_torch.napari.background import Progress
from anystar_torch.napari.layer_volume import LabelsPlace
from anystar_torch.napari.models import SHIPPED
from anystar_torch.napari.segmenter import Segmenter, Target

Thresholds = tuple[float, float]
"""``prob_thresh`` and ``nms_thresh``."""


@dataclass
class Segmentation:
    """The objects of a volume, or of all time points of a series, at changing thresholds.

    Attributes:
        segmenter: the network that found the candidates.
        targets: the volumes, by time point.
        live: their candidates.
        record: the settings of the run, without thresholds and results.
        thresholds: the present thresholds.
    """

    segmenter: Segmenter
    targets: dict[int, Target]
    live: dict[int, LiveObjects]
    record: RunRecord
    thresholds: Thresholds
    _found: dict[int, Instances] = field(default_factory=dict, repr=False, init=False)

    @property
    def place(self) -> LabelsPlace:
        """Where the labels lie: over the time points from the first to the last that was segmented."""
        first, last = min(self.targets), max(self.targets)
        target = self.targets[first]
        return LabelsPlace.whole(target.volume, target.channel, first, last - first + 1)

    @property
    def scores(self) -> dict[int, np.ndarray]:
        """Scores of all candidates, by time point."""
        return {frame: live.candidates.scores for frame, live in self.live.items()}

    def fits(self, segmenter: Segmenter, target: Target) -> bool:
        """Whether a network found this result in the same channel of the same image, at any time point.

        Args:
            segmenter: the network.
            target: a volume of the image.
        """
        own = next(iter(self.targets.values()))
        same = own.volume.levels[0] is target.volume.levels[0] and own.channel == target.channel
        return same and self.segmenter.model is segmenter.model

    def stale(self, frame: int) -> bool:
        """Whether the objects of a time point are those of other thresholds.

        Args:
            frame: index of the time point.
        """
        found = self._found.get(frame)
        return found is None or (found.prob_thresh, found.nms_thresh) != self.thresholds

    def objects(self, frame: int) -> Instances:
        """The objects of a time point at the present thresholds.

        Args:
            frame: index of the time point.
        """
        if self.stale(frame):
            self._found[frame] = self.live[frame].at(*self.thresholds)
        return self._found[frame]

    def keep(self, frame: int, found: Instances) -> None:
        """Take the objects of a time point that were computed in the background.

        Args:
            frame: index of the time point.
            found: its objects.
        """
        self._found[frame] = found

    def finished_record(self, notes: Sequence[str] = (), frames: Sequence[int] | None = None) -> RunRecord:
        """The run record at the present thresholds.

        Args:
            notes: remarks beside those of the run.
            frames: time points whose objects are counted; None for all.
        """
        frames = sorted(self.live) if frames is None else frames
        found = [self.objects(frame) for frame in frames]
        source = Path(self.record.source).name if self.record.source else self.place.source.name
        series = len(found) > 1
        names = [f"{source} frame {frame}" if series else source for frame in frames]
        own = [f"{name}: {note}" for name, one in zip(names, found, strict=True) for note in remarks(one)]
        return with_results(self.record, found, (*own, *notes))


def segment(
    segmenter: Segmenter,
    targets: Sequence[Target],
    diameter: float | None,
    progress: Progress,
    model: str = SHIPPED,
) -> Segmentation:
    """Find the candidates of a volume, or of every time point of a series.

    Args:
        segmenter: the network.
        targets: the volumes.
        diameter: in voxels of the finest axis; None to estimate it, for every time point.
        progress: names the time point; it can end the work.
        model: name of the model, for the record.
    """
    network = segmenter.model
    config = network.config
    live: dict[int, LiveObjects] = {}
    for target in targets:
        progress.check()
        found = segmenter.candidates(target, diameter)
        live[target.frame] = LiveObjects(found, network.shape_averaging, config)
    record = _record(segmenter, targets, diameter, model)
    thresholds = (config.prob_thresh, config.nms_thresh)
    result = Segmentation(segmenter, {target.frame: target for target in targets}, live, record, thresholds)
    for frame, objects in live.items():
        progress.check()
        objects.prepare(config.nms_thresh)
        result.objects(frame)
    return result


def _record(segmenter: Segmenter, targets: Sequence[Target], diameter: float | None, model: str) -> RunRecord:
    """The settings of a run, with the volume: as ``anystar predict`` stores them."""
    last = targets[-1]
    volume = last.volume
    chosen = volume.in_file(last.frame, last.channel)
    folder = None if model == SHIPPED else Path(model)
    given = None if diameter is None else f"{diameter:g}"
    return replace(
        settings_record(segmenter.model, folder, given, segmenter.device),
        channel=chosen["channel"],
        frame=chosen["frame"] if len(targets) == 1 else None,
        scene=chosen["scene"],
        source=None if volume.path is None else str(volume.path.absolute()),
        checksum=checksum(np.asarray(segmenter.opened(last).voxels)),
        spacing=volume.spacing[0],
        unit=volume.spacing[1],
    )


def save(
    result: Segmentation,
    labels: Int32[np.ndarray, "*t d h w"],
    path: Path,
    notes: Sequence[str] = (),
    overwrite: bool = True,
) -> RunRecord:
    """Write labels as ``anystar predict`` writes them: with spacing, orientation and run record.

    Args:
        result: the run that found the objects.
        labels: the labels now, of one volume or of a time series.
        path: the file; its ending tells the format.
        notes: remarks for the run record.
        overwrite: whether an existing file may be replaced.

    Returns:
        The record that was written.

    Raises:
        ValueError: the file cannot be written.
    """
    like = source_image(result)
    affine = None if like.affine is None else tuple(like.affine.reshape(-1).tolist())
    record = replace(result.finished_record(notes), affine=affine)
    io.write(path, labels, like, record, overwrite)
    return record


def candidates_record(result: Segmentation, frame: int) -> RunRecord:
    """The run record of one time point's candidates, by which ``anystar relabel`` finds their volume.

    Args:
        result: the run that found them.
        frame: index of the time point.
    """
    target = result.targets[frame]
    affine = source_image(result).affine
    return replace(
        result.finished_record(frames=[frame]),
        frame=frame if target.volume.count("T") > 1 else None,
        checksum=checksum(np.asarray(result.segmenter.opened(target).voxels)),
        affine=None if affine is None else tuple(affine.reshape(-1).tolist()),
    )


def source_image(result: Segmentation) -> SpatialImage:
    """The volume of a result, with orientation and style of its file where the layer shows the file's voxels.

    Args:
        result: the run.
    """
    target = result.targets[max(result.targets)]
    volume = target.volume
    spacing, unit = volume.spacing
    voxels = np.asarray(result.segmenter.opened(target).voxels)
    plain = SpatialImage(voxels, spacing, unit)
    if volume.path is None:
        return plain
    try:
        image = io.read(volume.path, **volume.in_file(target.frame, target.channel))
    except (ValueError, ImportError, OSError):  # the file is gone, or napari has read it by other rules
        return plain
    same = image.array.shape == voxels.shape and checksum(image.array) == result.record.checksum
    return replace(image, array=voxels, spacing=spacing, unit=unit) if same else plain
