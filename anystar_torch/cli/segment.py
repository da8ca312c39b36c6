"""One volume, from file to file."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.cli.paths import Outputs

if TYPE_CHECKING:
    from anystar_torch.inference.instances import Instances
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import RunRecord, Scan

KEPT = (
    0.5  # of the threshold: stored candidates reach down to it, so that relabel can lower the threshold too
)


_NONE: NDArray[np.int32] = np.empty((0, 0, 0), np.int32)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with every volume.

    Attributes:
        model: the network, with how it is used.
        spacing: voxel size (z, y, x) in micrometres; None for the file's own.
        axes: what the dimensions of the files are, such as "TZYX"; None for the files' own names.
        diameter: of the median object, as the user gave it; None to estimate it.
        prob_thresh, nms_thresh: what objects must pass.
        progress: whether to draw bars.
        record: what is known of every result: the settings, the device, and which channel and time point are read.
    """

    model: "AnyStar"
    spacing: tuple[float, float, float] | None
    axes: str | None
    diameter: str | None
    prob_thresh: float
    nms_thresh: float
    progress: bool
    record: "RunRecord"


@dataclass(frozen=True)
class Done:
    """What came of a volume: the line that says so, notes to read before it, and the number of objects."""

    line: str
    notes: tuple[str, ...]
    objects: int


def segment(path: Path, outputs: Outputs, job: Job) -> Done:
    """Find the objects of one volume, or of a time series frame by frame, and write them."""
    from anystar_torch import io

    io.recognise(path)
    outputs.check(path)
    start = time.perf_counter()
    chosen = job.record.frame
    count = 1 if chosen is not None else io.frames(path, job.axes)
    if count > 1 and outputs.extra:
        raise ValueError(f"{path} has {count} frames; choose one with --frame for anything beside labels")
    notes: list[str] = []
    results = []
    series: NDArray[Any] | None = None
    for number, frame in enumerate([chosen] if count == 1 else range(count)):
        scan = io.read(path, channel=job.record.channel, frame=frame, axes=job.axes, spacing=job.spacing)
        found = _found(path, scan, outputs, job)
        if count > 1:
            series = _with_frame(series, found.labels, number, count)
            results.append(replace(found, labels=_NONE))
        else:
            results.append(found)
        where = path.name if count == 1 else f"{path.name} frame {frame}"
        notes += [f"{where}: {note}" for note in found.notes]
    record = with_results(_with_source(job.record, path, scan), results, notes)
    io.write(outputs.labels, found.labels if series is None else series, scan, record, outputs.overwrite)
    _write_extra(found, scan, outputs)
    line = summary(outputs.labels, record, time.perf_counter() - start)
    return Done(line, record.notes, sum(map(len, results)))


def _with_frame(
    series: NDArray[Any] | None, labels: NDArray[np.int32], number: int, count: int
) -> NDArray[Any]:
    """A time series ``[T, D, H, W]`` with one more of its frames; of 16 bits as long as they suffice."""
    if series is None:
        series = np.zeros((count, *labels.shape), np.uint16)
    if labels.shape != series.shape[1:]:
        raise ValueError(f"frame {number} has shape {labels.shape}, and those before it {series.shape[1:]}")
    if labels.max(initial=0) >= 1 << 16:
        series = series.astype(np.int32, copy=False)
    series[number] = labels
    return series


def _found(path: Path, scan: "Scan", outputs: Outputs, job: Job) -> "Instances":
    """The objects of one frame; candidates, which take longest to come by, are written if they are wanted."""
    lowest = job.prob_thresh * (KEPT if outputs.candidates else 1)
    size = size_of(scan, job.diameter)
    device = job.record.device or "auto"
    stored, notes = job.model.candidates(scan.array, scan.spacing, size, lowest, device, job.progress)
    if outputs.candidates:
        record = _with_source(job.record, path, scan)
        record = replace(record, prob_thresh=job.prob_thresh, nms_thresh=job.nms_thresh)
        stored.save(outputs.candidates, record, outputs.overwrite)
    return job.model.objects(
        stored.above(job.prob_thresh), job.nms_thresh, progress=job.progress, notes=notes
    )


def _write_extra(found: "Instances", scan: "Scan", outputs: Outputs) -> None:
    """Tables, meshes and pictures."""
    from anystar_torch import io
    from anystar_torch.evaluation import picture
    from anystar_torch.inference import object_table as measure

    if outputs.points:
        rows = measure.table(found, scan.array, scan.spacing, scan.unit)
        io.write_table(outputs.points, rows, measure.COLUMNS, outputs.overwrite)
    if outputs.meshes:
        corners = measure.meshes(found, scan.spacing or (1, 1, 1))
        io.write_meshes(outputs.meshes, corners, found.rays.faces.numpy(), outputs.overwrite)
    if outputs.picture:
        shape = scan.spacing or (1.0, 1.0, 1.0)
        picture.planes(scan.array, prediction=found.labels, path=outputs.picture, spacing=shape)


def _with_source(record: "RunRecord", path: Path, scan: "Scan") -> "RunRecord":
    """The record with the volume that was read."""
    return replace(record, source=str(path), spacing=scan.spacing, unit=scan.unit)


def with_results(
    record: "RunRecord", results: "Sequence[Instances]", notes: Sequence[str] = ()
) -> "RunRecord":
    """The record with what the run used and found.

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


def summary(path: Path, record: "RunRecord", seconds: float) -> str:
    """The line printed for a result: its number of objects and the main settings of the record."""
    diameters = ", ".join(str(diameter) for diameter in dict.fromkeys(record.diameters))
    used = [
        f"prob_thresh {record.prob_thresh}",
        f"nms_thresh {record.nms_thresh}",
        f"diameter {diameters} {record.diameter_source or ''}".strip(),
    ]
    used += [f"normalisation {record.normalisation}"] if record.normalisation else []
    used += ["tta"] if record.tta else []
    used += [] if record.coarse_pass else ["no coarse pass"]
    return f"{path}: {record.objects} objects ({', '.join(used)}) in {seconds:.1f} s"


def size_of(scan: "Scan", diameter: str | None) -> float | None:
    """``--diameter`` in voxels of the finest axis."""
    from anystar_torch.inference.scale import voxels

    return None if diameter is None else voxels(diameter, scan.spacing if scan.unit else None)
