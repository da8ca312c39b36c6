"""The entry of a large prediction: opens the volume, continues or begins the work, finishes the labels."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anystar_torch.distributed.beginning import Source, begin, frames_of, jobs_of, spacing_of
from anystar_torch.distributed.engine import Found, draw_labels, find_objects
from anystar_torch.distributed.networks import provide, withdraw
from anystar_torch.distributed.options import LargeOptions
from anystar_torch.distributed.places import (
    discard,
    file_of,
    is_left,
    labels_at,
    may_replace_table,
    note_complete,
    note_table,
    remove_discarded,
    work_folder,
)
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Executor, Run, ThisProcess
from anystar_torch.distributed.table import write_objects
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.warnings import PredictionWarning
from anystar_torch.io import (
    Inside,
    LabelStore,
    LazyVolume,
    Location,
    RunRecord,
    check_table,
    check_target,
    is_url,
    spare,
)
from anystar_torch.io.placement import Placement
from anystar_torch.system.errors import last_line

if TYPE_CHECKING:
    from distributed import Client

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
    source: Source | list[Source],
    target: Location | Inside,
    client: "Client | None" = None,
    model: AnyStar | Path | str | None = None,
    *,
    work: Path | str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    record: RunRecord | None = None,
    **options: Any,
) -> LargeResult:
    """Segment a volume of any size, and write its labels as an OME-Zarr image.

    The same call continues a prediction that was interrupted, from the files in its work folder, if the volume is a
    file or an array of NumPy, Zarr, Dask or h5py.

    Args:
        source: file, folder or URL of the volume; or, without a client, a volume in memory or one that is read in
            boxes, or a list of such volumes of one size: the time points of a series.
        target: folder or URL of the labels, or the image that they are written into.
        client: connected to a Dask cluster whose workers see the source, the target and the work folder under the same
            paths. None to work in this process.
        model: the network with its options, or a folder; None for the shipped weights.
        work: folder in which ``TARGET.work`` holds the results of tasks until the end; None for that of the target.
        overwrite: whether finished labels, and the work of a run with other settings, may be replaced.
        progress: whether progress bars are drawn, on the error stream.
        record: settings of the run that the labels get beside their own; None where there are none.
        options: fields of :class:`~anystar_torch.distributed.options.LargeOptions`.

    Returns:
        Where the labels are, and the settings that made them.

    Raises:
        TypeError: an unknown option, or a source in memory together with a client.
        ValueError: the volume or an argument is not valid, the target exists, a task failed repeatedly, or the disk is
            full. The message says what is kept.

    Examples:
        A small array in this process. A path or a URL in its place is read box by box:

        >>> import numpy as np
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from anystar_torch import io
        >>> from anystar_torch.distributed import predict
        >>> z, y, x = np.mgrid[:32, :32, :32]
        >>> ball = (z - 16) ** 2 + (y - 16) ** 2 + (x - 16) ** 2 < 36
        >>> with TemporaryDirectory() as folder:
        ...     target = Path(folder, "labels.ome.zarr")
        ...     result = predict(ball.astype("float32"), target, diameter=12, device="cpu", progress=False)
        ...     labels = io.read_labels(target).array
        >>> result.objects, int(labels.max())
        (1, 1)
    """
    started, wishes = time.perf_counter(), LargeOptions(**options)
    if client is not None and not isinstance(source, Path | str | LazyVolume):
        raise TypeError("workers cannot see a volume in memory; give the path of a file, or no client")
    if client is not None:  # workers may have been started in another folder
        source, target = _absolute(source), _absolute(target)
        wishes = wishes if wishes.table is None else replace(wishes, table=Path(wishes.table).absolute())
    network = model if isinstance(model, AnyStar) else AnyStar.from_pretrained(model)
    frames = frames_of(source, wishes)
    place, table = work_folder(target, work), None if wishes.table is None else Path(wishes.table)
    spare(_read(frames, wishes), (labels_at(target), place, *(() if table is None else (table,))))
    replaced = overwrite or (table is not None and may_replace_table(place, table))
    _check_table(wishes, len(frames), replaced)
    remove_discarded(place)  # where the labels are finished, nothing else would
    if not overwrite and is_left(place, target):
        discard(place)
    LabelStore.check(target, overwrite)
    jobs = jobs_of(frames, network, wishes, place)
    begin(place, target, jobs, network, overwrite)
    with ExitStack() as during:
        during.enter_context(_kept(place))
        if client is None:
            provide(jobs[0], network.tile_network(wishes.device), network.config)
            during.callback(withdraw, jobs[0])
            during.enter_context(_threads(wishes.threads))
        run = Run(_executor(client), during.enter_context(Bars(progress, _STAGES * len(jobs) + 2)))
        found = [find_objects(job, run) for job in jobs]
        record = _record(record or RunRecord(model=_name(model)), wishes, found)
        store = _store(target, frames, found, overwrite, place, wishes)
        for number, one in enumerate(found):
            draw_labels(one, run, store, number if len(found) > 1 else None)
        if table is not None:
            note_table(place, table)
            write_objects(table, found[0], run, record.spacing, record.unit, replaced)
        note_complete(place)
        written = store.finish(record)
    with suppress(OSError, ValueError):  # the labels are complete
        discard(place)
    warnings = tuple(dict.fromkeys(warning for one in found for warning in one.warnings))
    return LargeResult(
        written, sum(one.count for one in found), record, warnings, time.perf_counter() - started
    )


def _executor(client: "Client | None") -> Executor:
    if client is None:
        return ThisProcess()
    from anystar_torch.distributed.cluster import Workers

    return Workers(client)


def _absolute(place: Any) -> Any:
    """The same file or label image, named from the root; what is at a URL stays."""
    if isinstance(place, Inside):
        return replace(place, image=_absolute(place.image))
    if isinstance(place, LazyVolume):
        return LazyVolume(replace(place.choice, path=_absolute(place.choice.path)))
    return Path(place).absolute() if isinstance(place, Path | str) and not is_url(place) else place


def _read(frames: Sequence[Any], wishes: LargeOptions) -> list[Location]:
    """The files and URLs that are read."""
    files = (one.choice.path if isinstance(one, LazyVolume) else file_of(one) for one in frames)
    volumes = {one for one in files if one is not None}
    return [*volumes, *((wishes.mask,) if isinstance(wishes.mask, Path | str) else ())]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """A context in which this process computes with so many threads; None for as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_table(wishes: LargeOptions, frames: int, overwrite: bool) -> None:
    """Refuse, before the work, a table that could not be written after it.

    Raises:
        ValueError: there are several time points, or the file exists or cannot be written.
    """
    if wishes.table is None:
        return
    if frames > 1:
        raise ValueError(f"the volume has {frames} time points; set frame to one of them for a table")
    check_table(Path(wishes.table))
    check_target(Path(wishes.table), overwrite)


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
    placement = getattr(first, "placement", None) or Placement.of(spacing_of(first, wishes), "", None, None)
    return LabelStore.create(
        target, shape, placement=placement, dtype=kind, shard=wishes.shard, overwrite=overwrite
    )


def _name(model: AnyStar | Path | str | None) -> str | None:
    """What a run record calls a network."""
    return None if isinstance(model, AnyStar) else str(model or "shipped")


def _record(record: RunRecord, wishes: LargeOptions, found: Sequence[Found]) -> RunRecord:
    """The settings of the run, one record for all time points."""
    job, first = found[0].job, found[0].job.source
    known = job.options.diameter is not None
    spacing = spacing_of(first, wishes)
    affine = getattr(first, "affine", None)
    path = getattr(getattr(first, "choice", None), "path", None)
    estimates = [one.size.estimate for one in found if one.size.estimate is not None]
    notes = [str(estimate) for estimate in estimates]
    notes += [warning.line for one in found for warning in one.warnings]
    planned = job.work.complete("plan") or {}
    machine = {name: planned["all"].facts[name] for name in ("device", "precision")}
    return replace(
        record,
        **machine,
        normalisation=job.normalisation,
        tta=job.options.tta,
        shape_averaging=job.options.shape_averaging,
        coarse_pass=job.options.coarse_pass,
        prob_thresh=job.options.prob_thresh,
        nms_thresh=job.options.nms_thresh,
        diameters=tuple(round(one.size.diameter, 3) for one in found),
        diameter_source="given" if known else "estimated" if estimates else "assumed",
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
