"""The table of the objects of a volume, measured box by box and written row by row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    with _columns(job, found.count) as (sums, points, scores):
        for item in measured.values():
            sums.add(ObjectSums(**{name: np.array(part) for name, part in job.work.read(item).items()}))
        for name, item in found.objects.items():
            ids = np.asarray(job.work.read(found.ids[name])["ids"])
            arrays, seen = job.work.read(item), ids > 0
            points[ids[seen] - 1], scores[ids[seen] - 1] = arrays["points"][seen], arrays["scores"][seen]
        write_table(path, object_rows(sums, points, scores, spacing, unit), COLUMNS, overwrite)


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


@contextmanager
def _columns(job: Job, count: int) -> Iterator[tuple[ObjectSums, NDArray[Any], NDArray[Any]]]:
    """Sums, centres and scores of all objects, in files, so that their number is not limited by memory."""
    with TemporaryDirectory(dir=job.work.path) as folder:

        def column(name: str, kind: Any, *more: int) -> NDArray[Any]:
            shape = (max(count, 1), *more)
            return np.lib.format.open_memmap(Path(folder, f"{name}.npy"), "w+", kind, shape)[:count]

        ids = column("ids", np.int64)
        ids[:] = np.arange(1, count + 1)
        sums = ObjectSums(
            ids,
            column("volume", np.int64),
            column("measured", np.int64),
            column("intensity", np.float64),
            column("touches_border", np.bool_),
        )
        yield sums, column("points", np.float32, 3), column("scores", np.float32)
