"""Prediction of a volume beyond memory from the command line: which volumes, on which workers, with which messages."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anystar_torch.cli.messages import with_options
from anystar_torch.cli.paths import Outputs
from anystar_torch.cli.segment import Job, summary

if TYPE_CHECKING:
    from distributed import Client

    from anystar_torch.inference.predictor import AnyStar

_LABELS = 8  # bytes per voxel of labels in memory, and of the copy that is written
_PROGRAM = 0.7e9  # bytes of the program and of the smallest tile


@dataclass(frozen=True, kw_only=True)
class Blockwise:
    """Options that only a prediction block by block has.

    Attributes:
        workers: number of processes on this machine.
        scheduler: address of the scheduler of a Dask cluster.
        mask: volume that is not 0 where objects may be.
        intensity_range: grey values that are mapped to 0 and 1.
        into_labels: name of the labels inside of the source.
        work: folder for results of tasks.
        threads: threads of each process; None to share the cores of this machine, or for the setting of the cluster.
        device: of each process, as the user named it: what "auto" means is decided where a task runs.
    """

    workers: int | None = None
    scheduler: str | None = None
    mask: Path | None = None
    intensity_range: tuple[float, float] | None = None
    into_labels: str | None = None
    work: Path | None = None
    threads: int | None = None
    device: str = "auto"

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        options = {
            "--workers": self.workers,
            "--scheduler": self.scheduler,
            "--mask": self.mask,
            "--range": self.intensity_range,
            "--into-labels": self.into_labels,
            "--work": self.work,
        }
        return [name for name, value in options.items() if value is not None]


def is_wanted(inputs: list[str], output: str | None, outputs: Outputs, wanted: Blockwise, job: Job) -> bool:
    """Whether a volume is predicted block by block: if options ask for it, or it does not fit into memory.

    Args:
        inputs: files, folders, patterns or URLs.
        output: of the labels; None for a name beside the input.
        outputs: the other results.
        wanted: the options that ask for it.
        job: the settings.

    Raises:
        ValueError: several volumes or results that need the volume in memory are asked for together with it.
    """
    from anystar_torch.io import is_url

    asked = wanted.given
    if is_url(inputs[0]) or (output is not None and is_url(output)):
        asked = [*asked, "a URL"]
    if not asked:
        in_memory = set(outputs.extra) - {outputs.table}
        return len(inputs) == 1 and not in_memory and _is_too_large(inputs[0], output, job)
    if len(inputs) > 1:
        raise ValueError(f"{asked[0]} takes one volume at a time, got {len(inputs)}")
    if set(outputs.extra) - {outputs.table}:
        raise ValueError(
            f"{asked[0]} predicts block by block; leave out --picture, --candidates and --meshes, which need the "
            "volume in memory"
        )
    return True


def segment_large(source: str, output: str | None, outputs: Outputs, job: Job, wanted: Blockwise) -> str:
    """Segment one volume block by block, and return what is printed.

    Args:
        source: file, folder or URL.
        output: folder or URL of the labels; None for a name beside the source.
        outputs: the table, and whether existing results may be replaced.
        job: the settings.
        wanted: the options of a prediction block by block.

    Raises:
        ValueError: an argument is not valid, or a task failed; the message says what is kept.
    """
    from anystar_torch.distributed import predict

    target = _target(source, output, wanted, job)
    model = job.model
    record = job.record
    try:
        with _client(wanted, model) as client:
            result = predict(
                _location(source),
                target,
                client,
                model,
                work=wanted.work,
                overwrite=outputs.overwrite,
                progress=job.progress,
                record=record,
                threads=wanted.threads,
                spacing=job.spacing,
                diameter=job.diameter,
                intensity_range=wanted.intensity_range,
                prob_thresh=job.prob_thresh,
                nms_thresh=job.nms_thresh,
                table=outputs.table,
                mask=wanted.mask,
                channel=record.channel,
                frame=record.frame,
                axes=record.axes,
                scene=record.scene,
                device=wanted.device,
            )
    except KeyboardInterrupt:
        print("anystar: what is done is kept, and the same command continues it", file=sys.stderr)
        raise
    lines = [*map(with_options, result.record.notes)]
    return "\n".join([*lines, summary(result.target, result.record, result.seconds)])


def _is_too_large(source: str, output: str | None, job: Job) -> bool:
    """Whether a volume and its labels exceed the memory, and the labels can be written block by block."""
    from anystar_torch import io
    from anystar_torch.system.memory import available_memory

    target = Path(output) if output is not None else io.beside(Path(source))
    if not target.name.endswith(".zarr"):
        return False
    record = job.record
    try:
        volume = io.open_volume(
            Path(source),
            channel=record.channel,
            frame=record.frame or 0,
            axes=record.axes,
            scene=record.scene,
        )
    except ValueError:  # what is wrong with it is said where it is read
        return False
    labels = volume.size * (_LABELS if record.frame is not None else 4 + 4 * volume.frames)
    limit = job.model.max_memory or 0.5 * available_memory()
    return volume.nbytes + labels + _PROGRAM > limit


def _target(source: str, output: str | None, wanted: Blockwise, job: Job) -> Any:
    """Where the labels go.

    Raises:
        ValueError: they would not be an OME-Zarr image.
    """
    from anystar_torch import io

    place = _location(source)
    written = source if wanted.into_labels is not None else output
    if written is not None and io.is_url(written) and wanted.work is None:
        raise ValueError(f"labels at {written} need a folder for what is done so far: give --work FOLDER")
    if wanted.into_labels is not None:
        if output is not None:
            raise ValueError("--into-labels writes into the source; leave out --output")
        record = job.record
        image = io.open_volume(
            place,
            channel=record.channel,
            frame=record.frame or 0,
            axes=record.axes,
            scene=record.scene,
        )
        return io.Inside(image.group or place, wanted.into_labels)
    if output is None:
        if io.is_url(source):
            raise ValueError(f"labels of {source} need a name: give -o NAME.ome.zarr")
        beside = io.beside(Path(source))
        kind = io.kind_of(beside) or beside.suffix
        return beside.with_name(f"{beside.name.removesuffix(kind)}.ome.zarr")
    if not output.rstrip("/").endswith(".zarr"):
        raise ValueError(
            f"labels of a prediction block by block are OME-Zarr; give -o NAME.ome.zarr, not {output}"
        )
    return _location(output)


def _location(text: str) -> Any:
    from anystar_torch.io import is_url

    return text if is_url(text) else Path(text)


@contextmanager
def _client(wanted: Blockwise, model: "AnyStar") -> "Iterator[Client | None]":
    """The cluster that the options ask for; None for this process. Prints the dashboard's address.

    Raises:
        ValueError: both a scheduler and a number of workers are given, or the number is below 1.
    """
    if wanted.workers is None and wanted.scheduler is None:
        yield None
        return
    if wanted.workers is not None and wanted.scheduler is not None:
        raise ValueError("--scheduler has workers of its own; leave out --workers")
    from anystar_torch.distributed.cluster import local_workers, scheduler_at

    if wanted.scheduler is not None:
        with scheduler_at(wanted.scheduler) as client:
            print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
            yield client
        return
    workers = wanted.workers or 0
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    if model.max_memory is None:
        from anystar_torch.distributed.job import memory_of_worker

        model.max_memory = memory_of_worker(workers, model.tile_network(wanted.device).device)
    with local_workers(workers, wanted.threads) as client:
        print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
        yield client
