"""Segmentation of one file: read, predict, write."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.cli.paths import Outputs, named_dataset
from anystar_torch.system.wording import number_of

if TYPE_CHECKING:
    from anystar_torch.inference.candidates import Candidates
    from anystar_torch.inference.instances import Instances
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import RunRecord, SpatialImage

#: Stored candidates have scores down to this share of the threshold, so that relabel can also lower the threshold.
KEPT = 0.5

_NO_LABELS: NDArray[np.int32] = np.empty((0, 0, 0), np.int32)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with every volume.

    Attributes:
        model: the network and how it is used.
        spacing: voxel size (z, y, x) in micrometres; None for the file's.
        diameter: of the median object, as text of the user; None to estimate it.
        prob_thresh: probability threshold.
        nms_thresh: overlap threshold of the suppression.
        progress: whether to draw progress bars.
        record: the settings that every result has in common, with the device, the channel, the time point and the axes.
    """

    model: "AnyStar"
    spacing: tuple[float, float, float] | None
    diameter: str | None
    prob_thresh: float
    nms_thresh: float
    progress: bool
    record: "RunRecord"


@dataclass(frozen=True)
class Done:
    """The result of one file.

    Attributes:
        line: what is printed for it.
        notes: warnings and remarks, printed before it.
        objects: number of objects.
    """

    line: str
    notes: tuple[str, ...]
    objects: int


def segment(path: Path, outputs: Outputs, job: Job) -> Done:
    """Segment one volume, or every time point of a series, and write the results.

    Args:
        path: of the volume.
        outputs: where the results go.
        job: settings.

    Raises:
        ValueError: the volume cannot be read, or a result cannot be written.
    """
    from anystar_torch import io

    io.recognise(path)
    outputs.check(path)
    start = time.perf_counter()
    chosen = job.record.frame
    count = 1 if chosen is not None else io.frames(path, job.record.axes, job.record.scene)
    if count > 1 and outputs.extra:
        raise ValueError(
            f"{path} has {count} time points; set frame to one of them for results beside labels"
        )
    notes: list[str] = []
    results = []
    series: NDArray[Any] | None = None
    for number, frame in enumerate([chosen] if count == 1 else range(count)):
        image = io.read(
            path,
            channel=job.record.channel,
            frame=frame,
            axes=job.record.axes,
            spacing=job.spacing,
            scene=job.record.scene,
        )
        found = _found(path, image, outputs, job)
        if count > 1:
            series = _with_frame(series, found.labels, number, count)
            results.append(replace(found, labels=_NO_LABELS))
        else:
            results.append(found)
        name = path.name if count == 1 else f"{path.name}, time point {frame}"
        notes += [f"{name}: {note}" for note in remarks(found)]
    made = _with_size_source(job.record, results)
    record = with_results(_with_source(made, path, image), results, notes)
    io.write(outputs.labels, found.labels if series is None else series, image, record, outputs.overwrite)
    _write_extra(found, image, outputs)
    line = summary(outputs.labels, record, time.perf_counter() - start)
    return Done(line, record.notes, sum(map(len, results)))


def _with_frame(
    series: NDArray[Any] | None, labels: NDArray[np.int32], number: int, count: int
) -> NDArray[Any]:
    """The time series ``[T, D, H, W]`` with one more time point; of 16 bits as long as they suffice."""
    if series is None:
        series = np.zeros((count, *labels.shape), np.uint16)
    if labels.shape != series.shape[1:]:
        raise ValueError(f"time point {number} has shape {labels.shape}, those before it {series.shape[1:]}")
    if labels.max(initial=0) >= 1 << 16:
        series = series.astype(np.int32, copy=False)
    series[number] = labels
    return series


def _found(path: Path, image: "SpatialImage", outputs: Outputs, job: Job) -> "Instances":
    """The objects of one volume. Candidates are written first, because they take the longest time."""
    lowest = job.prob_thresh * (KEPT if outputs.candidates else 1)
    diameter = _voxels(job.diameter, image)
    device = job.record.device or "auto"
    stored = job.model.candidates(image.array, image.spacing, diameter, lowest, device, job.progress)
    if outputs.candidates:
        record = _with_source(_with_size_source(job.record, [stored]), path, image)
        record = replace(
            record,
            prob_thresh=job.prob_thresh,
            nms_thresh=job.nms_thresh,
            diameters=(round(stored.diameter, 3),),
            notes=tuple(f"{path.name}: {note}" for note in remarks(stored)),
        )
        stored.save(outputs.candidates, record, outputs.overwrite)
    return job.model.instances(stored.above(job.prob_thresh), job.nms_thresh, progress=job.progress)


def remarks(found: "Instances | Candidates") -> list[str]:
    """How the diameter was estimated, and the warnings of a result with the arguments that may resolve them.

    Args:
        found: the objects, or the candidates.
    """
    lines = [] if found.estimate is None else [str(found.estimate)]
    return lines + [warning.line for warning in found.warnings]


def _write_extra(found: "Instances", image: "SpatialImage", outputs: Outputs) -> None:
    """Write table, meshes and picture."""
    from anystar_torch import io
    from anystar_torch.evaluation import picture
    from anystar_torch.inference.object_table import COLUMNS, object_meshes, object_table

    if outputs.table:
        rows = object_table(found, image.array, image.spacing, image.unit)
        io.write_table(outputs.table, rows, COLUMNS, outputs.overwrite)
    if outputs.meshes:
        vertices = object_meshes(found, image.spacing or (1, 1, 1))
        io.write_meshes(outputs.meshes, vertices, found.rays.faces.numpy(), outputs.overwrite)
    if outputs.picture:
        spacing = image.spacing or (1.0, 1.0, 1.0)
        picture.planes(image.array, prediction=found.labels, path=outputs.picture, spacing=spacing)


def _with_source(record: "RunRecord", path: Path, image: "SpatialImage") -> "RunRecord":
    """The record with the volume that was read: where it is, what it is, and where it lies."""
    from anystar_torch import io
    from anystar_torch.io.identity import checksum

    return replace(
        record,
        source=str(named_dataset(io.container(path).absolute(), path)),
        checksum=checksum(image.array),
        affine=None if image.affine is None else tuple(image.affine.reshape(-1).tolist()),
        spacing=image.spacing,
        unit=image.unit,
    )


def _with_size_source(record: "RunRecord", found: "Sequence[Instances | Candidates]") -> "RunRecord":
    """The record as it is, or with an assumed diameter where none could be estimated, as without objects."""
    assumed = record.diameter_source == "estimated" and all(one.estimate is None for one in found)
    return replace(record, diameter_source="assumed") if assumed else record


def with_results(
    record: "RunRecord", results: "Sequence[Instances]", notes: Sequence[str] = ()
) -> "RunRecord":
    """The record with thresholds, diameters and number of objects.

    Args:
        record: the settings of the run.
        results: the objects of every time point.
        notes: warnings and remarks of the run.
    """
    return replace(
        record,
        prob_thresh=results[0].prob_thresh,
        nms_thresh=results[0].nms_thresh,
        diameters=tuple(round(found.diameter, 3) for found in results),
        objects=sum(map(len, results)),
        notes=tuple(notes),
    )


def summary(path: Path | str, record: "RunRecord", seconds: float) -> str:
    """The line printed for a result: number of objects and main settings.

    Args:
        path: of the labels.
        record: of the run.
        seconds: it took.
    """
    diameters = ", ".join(str(diameter) for diameter in dict.fromkeys(record.diameters))
    used = [
        f"prob_thresh {record.prob_thresh}",
        f"nms_thresh {record.nms_thresh}",
        f"diameter {diameters} {record.diameter_source or ''}".strip(),
    ]
    used += [f"normalisation {record.normalisation}"] if record.normalisation else []
    used += ["tta"] if record.tta else []
    used += [] if record.coarse_pass else ["no coarse pass"]
    return f"{path}: {number_of(record.objects or 0, 'object')} ({', '.join(used)}) in {seconds:.1f} s"


def _voxels(diameter: str | None, image: "SpatialImage") -> float | None:
    """A diameter in voxels of the finest axis."""
    from anystar_torch.inference.input_volume import diameter_in_voxels

    return None if diameter is None else diameter_in_voxels(diameter, image.spacing if image.unit else None)
