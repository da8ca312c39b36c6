"""The intensity range of a volume that is read box by box: that of the volume in memory."""

from functools import partial

import numpy as np
from jaxtyping import Shaped

from anystar_torch.arrays import Triple
from anystar_torch.distributed.blocks import Boxes, slices
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.run import Run
from anystar_torch.distributed.work_folder import Arrays, Item
from anystar_torch.inference.intensity_range import (
    SAMPLED,
    IntensityRange,
    has_histogram,
    histogram,
    random_places,
    range_of_values,
)
from anystar_torch.network.normalisation import NORMALISATIONS

_BOX = 256  # voxels along each axis that a task reads, about
STAGE, _SAMPLE = "intensities", "sample"


def reading_boxes(job: Job) -> Boxes:
    """Boxes of whole chunks of the source.

    Args:
        job: the prediction.
    """
    chunk = getattr(job.source, "blocks", None) or (_BOX,) * 3
    z, y, x = (own * max(1, round(_BOX / own)) for own in chunk)
    return Boxes(job.shape, (min(z, 4 * _BOX), min(y, 4 * _BOX), min(x, 4 * _BOX)))


def measure(job: Job, run: Run) -> IntensityRange:
    """The intensity range of a volume. With a mask, that of the voxels inside of it.

    Quantiles are exact for integers of up to 16 bits and for volumes of up to 2^24 voxels. In larger volumes of other
    types they are those of 2^24 voxels at random places, which are the same ones as for a volume in memory.

    Args:
        job: the prediction.
        run: runs the tasks.

    Raises:
        ValueError: the volume has no finite value.
    """
    given = job.options.intensity_range
    if given is not None:
        return IntensityRange(*given, NORMALISATIONS[job.normalisation].clip)
    boxes = reading_boxes(job)
    names = [name for name in boxes.names() if job.mask is None or job.mask.meets(boxes.box(name), job.shape)]
    if not has_histogram(np.dtype(job.source.dtype)) and _size(job.shape) > SAMPLED:
        run.stage(job.work, _SAMPLE, partial(_places, job), ["all"])
    items = run.stage(job.work, STAGE, partial(_read, job), names)
    parts = [job.work.read(item) for item in items.values()]
    values = np.concatenate([part["values"] for part in parts])
    ends = np.concatenate([part.get("ends", np.empty(0)) for part in parts])
    if ends.size:
        values = np.concatenate([values, [ends.min(), ends.max()]])
    if not has_histogram(np.dtype(job.source.dtype)):
        return range_of_values(np.sort(values), None, job.normalisation)
    counts = np.concatenate([part["counts"] for part in parts])
    unique, inverse = np.unique(values, return_inverse=True)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, inverse, counts)
    return range_of_values(unique, total, job.normalisation)


def _read(job: Job, name: str) -> Item:
    """The values of a box: how often each occurs, or all of them, or those of the sample with the extremes."""
    box = reading_boxes(job).box(name)
    voxels = np.asarray(job.source[slices(box)])
    inside = None if job.mask is None else job.mask.voxels(box, job.shape)
    if has_histogram(voxels.dtype):
        counted = voxels if inside is None else voxels[inside]
        values, counts = histogram(counted.reshape(1, -1))
        return job.work.write(STAGE, name, {"values": values.astype(np.int64), "counts": counts})
    if _size(job.shape) <= SAMPLED:
        kept = voxels.reshape(-1) if inside is None else voxels[inside]
        values = kept[np.isfinite(kept)].astype(np.float64)
        return job.work.write(STAGE, name, {"values": values})
    return job.work.write(STAGE, name, _sampled(job, name, voxels, inside))


def _sampled(
    job: Job, name: str, voxels: Shaped[np.ndarray, "d h w"], inside: Shaped[np.ndarray, "d h w"] | None
) -> Arrays:
    """The finite values at the places of the sample that lie in a box, and its smallest and largest finite value."""
    items = job.work.complete(_SAMPLE)
    assert items is not None
    places = job.work.read(items["all"])[name]
    picked = voxels.reshape(-1)[places]
    all_values = voxels.reshape(-1) if inside is None else voxels[inside]
    if inside is not None:
        picked = picked[inside.reshape(-1)[places]]
    finite = all_values[np.isfinite(all_values)]
    ends = [finite.min(), finite.max()] if finite.size else []
    return {
        "values": picked[np.isfinite(picked)].astype(np.float64),
        "ends": np.array(ends, np.float64),
    }


def _places(job: Job, name: str) -> Item:
    """The random places of the sample, as indices into the boxes that hold them."""
    boxes = reading_boxes(job)
    flat = np.concatenate(list(random_places(_size(job.shape), SAMPLED)))
    where = np.unravel_index(flat, job.shape)
    owner = np.ravel_multi_index([w // s for w, s in zip(where, boxes.size, strict=True)], boxes.counts)
    order, names = np.argsort(owner, kind="stable"), boxes.names()
    bounds = np.searchsorted(owner[order], np.arange(len(names) + 1))
    arrays = {}
    for number, one in enumerate(names):
        mine, box = order[bounds[number] : bounds[number + 1]], boxes.box(one)
        extent = [b - a for a, b in zip(*box, strict=True)]
        inner = [axis[mine] - start for axis, start in zip(where, box[0], strict=True)]
        arrays[one] = np.ravel_multi_index(inner, extent).astype(np.int64)
    return job.work.write(_SAMPLE, name, arrays)


def _size(shape: Triple) -> int:
    return shape[0] * shape[1] * shape[2]
