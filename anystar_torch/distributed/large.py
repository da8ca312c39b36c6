"""The entry of a large prediction: opens the volume, continues or begins the work, finishes the labels."""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch import __version__
from anystar_torch.arrays import Spacing
from anystar_torch.distributed.engine import Found, draw_labels, find_objects
from anystar_torch.distributed.job import Job, Machine, Options, provide
from anystar_torch.distributed.mask import VolumeMask
from anystar_torch.distributed.options import LargeOptions
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Executor, Run, ThisProcess
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.inference.candidates import checked_overlap, checked_probability
from anystar_torch.inference.input_volume import diameter_in_voxels, validated_spacing
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.warnings import PredictionWarning
from anystar_torch.io import Inside, LabelStore, LazyVolume, Location, RunRecord, is_url, open_volume, read
from anystar_torch.io.placement import Placement
from anystar_torch.network import weights
from anystar_torch.system.errors import last_line

if TYPE_CHECKING:
    from distributed import Client

_SETTINGS = "settings.json"
_STAGES = 9  # that most predictions have, for the bar of all stages


@dataclass(frozen=True)
class LargeResult:
    """Where the labels are, and how they were made.

    Attributes:
        target: folder or URL of the labels.
        objects: number of objects, of all time points together.
        record: the run record that is stored with them.
        warnings: reasons to check the result.
        seconds: that the prediction took.
    """

    target: Location
    objects: int
    record: RunRecord
    warnings: tuple[PredictionWarning, ...]
    seconds: float


def predict(
    source: Location | LazyVolume | NDArray[Any],
    target: Location | Inside,
    client: "Client | None" = None,
    model: AnyStar | Path | str | None = None,
    *,
    work: Path | str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> LargeResult:
    """Segment a volume of any size, and write its labels as an OME-Zarr image.

    The same call continues a prediction that was interrupted, from the files in its work folder.

    Args:
        source: file, folder or URL of the volume; or a volume in memory, without a client.
        target: folder or URL of the labels, or the image that they are written into.
        client: connected to a Dask cluster whose workers see the source, the target and the work folder under the same
            paths. None to work in this process.
        model: the network with its options, or a folder; None for the shipped weights.
        work: folder for results of tasks, which is removed at the end. None for ``TARGET.work`` beside the target.
        overwrite: whether finished labels, and the work of a run with other settings, may be replaced.
        progress: whether progress bars are drawn, on the error stream.
        options: fields of :class:`~anystar_torch.distributed.options.LargeOptions`.

    Returns:
        Where the labels are, and the settings that made them.

    Raises:
        TypeError: an unknown option, or a source in memory together with a client.
        ValueError: the volume or an argument is not valid, the target exists, a task failed repeatedly, or the disk is
            full. The message says what is kept.
    """
    started, wishes = time.perf_counter(), LargeOptions(**options)
    if client is not None and isinstance(source, np.ndarray):
        raise TypeError("workers cannot see a volume in memory; give the path of a file, or no client")
    network = model if isinstance(model, AnyStar) else AnyStar.from_pretrained(model)
    frames = _frames(source, wishes)
    place = _work_folder(target, work)
    if not overwrite:
        _refuse_finished(target)
    jobs = _jobs(frames, network, wishes, place)
    _begin(place, target, jobs, network, overwrite)
    if client is None:
        for job in jobs:
            provide(job, network.tile_network(wishes.device), network.config)
    with _kept(place), Bars(progress, _STAGES * len(jobs) + 2) as bars:
        run = Run(_executor(client), bars)
        found = [find_objects(job, run) for job in jobs]
        record = _record(source, network, wishes, found)
        store = _store(target, frames, found, overwrite, place, wishes)
        for number, one in enumerate(found):
            draw_labels(one, run, store, number if len(found) > 1 else None)
        written = store.finish(record)
    shutil.rmtree(place, ignore_errors=True)
    warnings = tuple(dict.fromkeys(warning for one in found for warning in one.warnings))
    return LargeResult(
        written, sum(one.count for one in found), record, warnings, time.perf_counter() - started
    )


def _executor(client: "Client | None") -> Executor:
    if client is None:
        return ThisProcess()
    from anystar_torch.distributed.cluster import Workers

    return Workers(client)


def _frames(source: Location | LazyVolume | NDArray[Any], wishes: LargeOptions) -> list[Any]:
    """The volumes to predict: one, or one per time point."""
    if isinstance(source, np.ndarray):
        return [source]
    if isinstance(source, LazyVolume):
        return [source]
    chosen = {name: getattr(wishes, name) for name in ("channel", "axes", "spacing", "scene")}
    if wishes.frame is not None:
        return [open_volume(source, frame=wishes.frame, **chosen)]
    try:
        first = open_volume(source, **chosen)
    except ValueError:  # several time points, of which one must be chosen
        first = open_volume(source, frame=0, **chosen)
    count = first.frames
    return [first] if count == 1 else [first.at(frame=frame) for frame in range(count)]


def _jobs(frames: Sequence[Any], network: AnyStar, wishes: LargeOptions, place: Path) -> list[Job]:
    config = network.config
    spacing = _spacing(frames[0], wishes)
    has_unit = wishes.spacing is not None or getattr(frames[0], "unit", "") == "um"
    shape: Spacing = network.network.rays.anisotropy if spacing is None else spacing
    given = wishes.diameter
    diameter = None if given is None else diameter_in_voxels(given, spacing if has_unit else None)
    limits = wishes.intensity_range
    settings = Options(
        spacing=shape,
        diameter=diameter,
        intensity_range=None if limits is None else (float(limits[0]), float(limits[1])),
        prob_thresh=checked_probability(
            config.prob_thresh if wishes.prob_thresh is None else wishes.prob_thresh
        ),
        nms_thresh=checked_overlap(config.nms_thresh if wishes.nms_thresh is None else wishes.nms_thresh),
        tta=network.tta,
        coarse_pass=network.coarse_pass,
        shape_averaging=network.shape_averaging,
        tiles=network.tile_options,
        block=wishes.block,
        shard=wishes.shard,
    )
    mask = _mask(wishes)
    return [
        Job(
            work=WorkFolder(place / f"frame-{number:05d}"),
            source=frame,
            mask=mask,
            options=settings,
            machine=Machine(device=wishes.device, max_memory=network.max_memory, threads=wishes.threads),
            model=place / "model",
            normalisation=config.normalisation,
        )
        for number, frame in enumerate(frames)
    ]


def _spacing(source: Any, wishes: LargeOptions) -> Spacing | None:
    """The voxel size that is used: the given one, or that of the file."""
    spacing = wishes.spacing or getattr(source, "spacing", None)
    return None if spacing is None else validated_spacing(spacing)


def _mask(wishes: LargeOptions) -> VolumeMask | None:
    if wishes.mask is None:
        return None
    values = wishes.mask if isinstance(wishes.mask, np.ndarray) else read(Path(wishes.mask)).array
    return VolumeMask.of(values)


def _work_folder(target: Location | Inside, work: Path | str | None) -> Path:
    """The folder for results of tasks.

    Raises:
        ValueError: the target is a URL, and no folder was given.
    """
    if work is not None:
        return Path(work)
    place = target.target if isinstance(target, Inside) else target
    if is_url(place):
        raise ValueError(f"labels at {place} need a work folder that all workers see: give work")
    return Path(place).with_name(f"{Path(place).name}.work")


def _refuse_finished(target: Location | Inside) -> None:
    place = target.target if isinstance(target, Inside) else target
    if not is_url(place) and Path(place).exists():
        raise ValueError(f"{place} exists; overwrite it or choose another name")


def _begin(
    place: Path, target: Location | Inside, jobs: Sequence[Job], network: AnyStar, overwrite: bool
) -> None:
    """Continue the work of an earlier run with the same settings, or begin.

    Raises:
        ValueError: the work folder belongs to a run with other settings.
    """
    folder = WorkFolder(place)
    job = jobs[0]
    settings = {
        "version": __version__,
        "source": [str(getattr(getattr(job.source, "choice", None), "path", "array")), list(job.shape)],
        "frames": len(jobs),
        "number type": str(job.source.dtype),
        "model": _digest(network),
        "normalisation": job.normalisation,
        "mask": None if job.mask is None else hashlib.blake2b(job.mask.inside.tobytes()).hexdigest()[:16],
        **job.options.facts(),
    }
    settings = WorkFolder.plain(settings)
    earlier = folder.noted(_SETTINGS)
    if earlier is not None and earlier != settings:
        changed = sorted(k for k in {*earlier, *settings} if earlier.get(k) != settings.get(k))
        if not overwrite:
            raise ValueError(
                f"{place} holds the work of a run with other settings ({', '.join(changed)}); give the same ones to "
                "continue it, or overwrite it"
            )
        shutil.rmtree(place)
        earlier = None
    if earlier is None:
        try:
            place.mkdir(parents=True, exist_ok=True)
            weights.save(job.model, network.network, network.config)
            folder.note(_SETTINGS, settings)
        except OSError as error:
            raise ValueError(f"cannot write {place}: {error.strerror or last_line(error)}") from error
    if not LabelStore.is_begun(target):  # labels that are noted as written are gone
        for one in jobs:
            one.work.forget(("labels", "pyramid"))


def _digest(network: AnyStar) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(network.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _store(
    target: Location | Inside,
    frames: Sequence[Any],
    found: Sequence[Found],
    overwrite: bool,
    place: Path,
    wishes: LargeOptions,
) -> LabelStore:
    """The label image: of 16 bits if they suffice, as for volumes in memory."""
    most = max(one.count for one in found)
    kind = np.uint16 if most < 1 << 16 else np.int32 if most < 1 << 31 else np.int64
    shape = found[0].job.shape if len(found) == 1 else (len(found), *found[0].job.shape)
    first = frames[0]
    placement = getattr(first, "placement", None) or Placement.of(_spacing(first, wishes), "", None, None)
    return LabelStore.create(
        target, shape, placement=placement, dtype=kind, shard=wishes.shard, overwrite=overwrite
    )


def _record(source: Any, network: AnyStar, wishes: LargeOptions, found: Sequence[Found]) -> RunRecord:
    """The settings of the run, one record for all time points."""
    job, first = found[0].job, found[0].job.source
    known = job.options.diameter is not None
    spacing = _spacing(first, wishes)
    affine = getattr(first, "affine", None)
    path = getattr(getattr(first, "choice", None), "path", None)
    notes = [str(one.size.estimate) for one in found if one.size.estimate is not None]
    notes += [f"warning: {warning}" for one in found for warning in one.warnings]
    return RunRecord(
        model="given" if isinstance(network, AnyStar) else str(network),
        normalisation=job.normalisation,
        tta=job.options.tta,
        shape_averaging=job.options.shape_averaging,
        coarse_pass=job.options.coarse_pass,
        prob_thresh=job.options.prob_thresh,
        nms_thresh=job.options.nms_thresh,
        diameters=tuple(round(one.size.diameter, 3) for one in found),
        diameter_source="given" if known else "estimated" if job.config.sizes_known else "assumed",
        source=None if path is None else str(path if is_url(path) else Path(path).absolute()),
        affine=None if affine is None else tuple(np.asarray(affine).reshape(-1).tolist()),
        spacing=spacing,
        unit=getattr(first, "unit", ""),
        channel=wishes.channel,
        frame=wishes.frame,
        axes=wishes.axes,
        scene=wishes.scene,
        objects=sum(one.count for one in found),
        notes=tuple(dict.fromkeys(notes)),
    )


@contextmanager
def _kept(place: Path) -> Iterator[None]:
    """Say in errors what is kept.

    Raises:
        ValueError: what went wrong, and how to continue.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or last_line(error)
        raise ValueError(f"{reason}; {_continue(place)}") from error
    except ValueError as error:
        if type(error).__name__ != "TaskError":
            raise
        raise ValueError(f"{error}; {_continue(place)}") from error


def _continue(place: Path) -> str:
    return f"what is done is kept in {place}, and the same command continues it"
