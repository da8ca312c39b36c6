"""The table of the objects of a volume, measured box by box and written row by row."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.distributed.blocks import slices
from anystar_torch.distributed.drawing import draw, label_boxes, numbers_of
from anystar_torch.distributed.engine import Found, reaching
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.run import Run
from anystar_torch.distributed.work_folder import Item
from anystar_torch.inference.object_sums import ObjectSums, block_sums
from anystar_torch.inference.object_table import COLUMNS, object_rows
from anystar_torch.io import write_table

STAGE = "table"


def write_objects(
    path: Path, found: Found, run: Run, spacing: Sequence[float] | None, unit: str, overwrite: bool
) -> None:
    """Write the table of all objects of a volume, in the order of their ids.

    Args:
        path: the file, ``.csv`` or ``.parquet``.
        found: the objects.
        run: runs the tasks.
        spacing: voxel size (z, y, x); None where it is not known.
        unit: unit of ``spacing``.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: the file cannot be written.
    """
    job, near = found.job, reaching(found)
    measured = run.stage(
        job.work,
        STAGE,
        partial(measure_box, job),
        near,
        lambda name: ([found.objects[one] for one in near[name]], [found.ids[one] for one in near[name]]),
    )
    with TemporaryDirectory(dir=job.work.path, ignore_cleanup_errors=True) as folder:
        # In a function, so that the files are not mapped into memory any more when they are removed.
        write = partial(write_table, path, columns=COLUMNS, overwrite=overwrite)
        _write_rows(write, found, measured.values(), Path(folder), spacing, unit)


def measure_box(job: Job, name: str, blocks: Sequence[Item], ids: Sequence[Item]) -> Item:
    """Store the sums over the voxels of the objects in a box of the labels.

    Args:
        job: the prediction.
        name: of the box.
        blocks: objects of all blocks that can reach into the box.
        ids: the ids of their objects.
    """
    box = label_boxes(job).box(name)
    drawn = draw(job, box, blocks)
    numbers = numbers_of(job, drawn, ids)
    sums = block_sums(drawn.labels, np.asarray(job.source[slices(box)]), box[0], job.shape)
    arrays = {**vars(sums), "ids": numbers[sums.ids]}
    return job.work.write(STAGE, name, arrays)


def _write_rows(
    write: Callable[..., None],
    found: Found,
    measured: Iterable[Item],
    folder: Path,
    spacing: Sequence[float] | None,
    unit: str,
) -> None:
    """Write the rows of all objects, whose columns are collected in files of a folder."""
    work = found.job.work
    sums, points, scores = _columns(folder, found.count)
    for item in measured:
        sums.add(ObjectSums(**{name: np.array(part) for name, part in work.read(item).items()}))
    for name, item in found.objects.items():
        ids = np.asarray(work.read(found.ids[name])["ids"])
        arrays, seen = work.read(item), ids > 0
        points[ids[seen] - 1], scores[ids[seen] - 1] = arrays["points"][seen], arrays["scores"][seen]
    write(rows=object_rows(sums, points, scores, spacing, unit))


def _columns(folder: Path, count: int) -> tuple[ObjectSums, NDArray[Any], NDArray[Any]]:
    """Sums, centres and scores of all objects, in files, so that their number is not limited by memory."""

    def column(name: str, kind: Any, *more: int) -> NDArray[Any]:
        shape = (max(count, 1), *more)
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)[:count]

    ids = column("ids", np.int64)
    ids[:] = np.arange(1, count + 1)
    sums = ObjectSums(
        ids,
        column("volume", np.int64),
        column("measured", np.int64),
        column("intensity", np.float64),
        column("touches_border", np.bool_),
    )
    return sums, column("points", np.float32, 3), column("scores", np.float32)
