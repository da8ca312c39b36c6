"""One volume, from file to file."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.cli.paths import Outputs

if TYPE_CHECKING:
    from anystar_torch.inference.instances import Instances
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import Scan

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
        diameter: of the median object, as the user gave it; None to estimate it.
        prob_thresh, nms_thresh: what objects must pass.
        device: by its name.
        channel, frame: which of several; None where there is one, and for every frame.
        progress: whether to draw bars.
        about: what else belongs into the metadata.
    """

    model: "AnyStar"
    spacing: tuple[float, float, float] | None
    diameter: str | None
    prob_thresh: float
    nms_thresh: float
    device: str
    channel: int | None
    frame: int | None
    progress: bool
    about: dict[str, Any]


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
    count = 1 if job.frame is not None else io.frames(path)
    if count > 1 and outputs.extra:
        raise ValueError(f"{path} has {count} frames; choose one with --frame for anything beside labels")
    notes: list[str] = []
    results = []
    series: NDArray[Any] | None = None
    for number, frame in enumerate([job.frame] if count == 1 else range(count)):
        scan = with_spacing(io.read(path, channel=job.channel, frame=frame), job.spacing)
        found = _found(path, scan, outputs, job)
        if count > 1:
            series = _with_frame(series, found.labels, number, count)
            results.append(replace(found, labels=_NONE))
        else:
            results.append(found)
        where = path.name if count == 1 else f"{path.name} frame {frame}"
        notes += [f"{where}: {note}" for note in found.notes]
    about = {**_about(path, scan, job), **settings(results)}
    if notes:
        about["notes"] = notes
    io.write(outputs.labels, found.labels if series is None else series, scan, about, outputs.overwrite)
    _write_extra(found, scan, outputs)
    line = summary(outputs.labels, about, time.perf_counter() - start)
    return Done(line, tuple(notes), about["objects"])


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
    stored, notes = job.model.candidates(scan.array, scan.spacing, size, lowest, job.device, job.progress)
    if outputs.candidates:
        wanted = {"prob_thresh": job.prob_thresh, "nms_thresh": job.nms_thresh}
        stored.save(outputs.candidates, {**_about(path, scan, job), **wanted}, outputs.overwrite)
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


def _about(path: Path, scan: "Scan", job: Job) -> dict[str, Any]:
    """What the metadata of every result say of where it comes from."""
    return {
        **job.about,
        "source": str(path),
        "spacing": scan.spacing,
        "unit": scan.unit,
        "channel": job.channel,
        "frame": job.frame,
    }


def settings(results: "list[Instances]") -> dict[str, Any]:
    """What made a result, as it is printed and stored; sizes are a list where frames differ."""
    sizes = [round(found.diameter, 3) for found in results]
    return {
        "prob_thresh": results[0].prob_thresh,
        "nms_thresh": results[0].nms_thresh,
        "diameter": sizes[0] if len(set(sizes)) == 1 else sizes,
        "objects": sum(len(found) for found in results),
    }


def summary(path: Path, about: dict[str, Any], seconds: float) -> str:
    """The line printed for a result: the settings that are stored with it."""
    used = ", ".join(f"{name} {about[name]}" for name in ("prob_thresh", "nms_thresh", "diameter"))
    how = f" {about['size']}" if about.get("size") else ""
    grey = f", normalisation {about['normalisation']}" if about.get("normalisation") else ""
    flips = ", flips" if about.get("flips") else ""
    looks = "" if about.get("multiscale", True) else ", one scale"
    return f"{path}: {about['objects']} objects ({used}{how}{grey}{flips}{looks}) in {seconds:.1f} s"


def with_spacing(scan: "Scan", spacing: tuple[float, float, float] | None) -> "Scan":
    """The scan with ``--spacing`` in place of the file's."""
    from anystar_torch.inference.scale import checked_spacing

    return scan if spacing is None else replace(scan, spacing=checked_spacing(spacing), unit="um")


def size_of(scan: "Scan", diameter: str | None) -> float | None:
    """``--diameter`` in voxels of the finest axis."""
    from anystar_torch.inference.scale import voxels

    return None if diameter is None else voxels(diameter, scan.spacing if scan.unit else None)
