"""The intensity range of a volume that is read box by box: that of the volume in memory."""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

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

_BOX = 256  # voxels along each axis that a task reads, about, where chunks are smaller
_LARGEST_BOX = 1 << 26  # voxels that a task reads, at most, however large chunks are
_PIECE = 1 << 20  # voxels that are counted at a time, because counting copies them to 64 bits
_LOWEST, _VALUES = -(1 << 15), 3 << 15  # lowest value and number of values of int16 and uint16 together
STAGE, _SAMPLE = "intensities", "sample"


def reading_boxes(job: Job) -> Boxes:
    """Boxes of whole chunks of the source. Only a chunk that has too many voxels for a task is divided.

    Args:
        job: the prediction.
    """
    chunk = [max(1, min(n, total)) for n, total in zip(_chunk(job.source), job.shape, strict=True)]
    size = [n * max(1, round(_BOX / n)) for n in chunk]
    while math.prod(size) > _LARGEST_BOX:
        several = [axis for axis in range(3) if size[axis] > chunk[axis]]
        longest = max(several or range(3), key=size.__getitem__)
        step = chunk[longest] if several else 1
        size[longest] = step * -(-size[longest] // (2 * step))
    z, y, x = size
    return Boxes(job.shape, (z, y, x))


def _chunk(source: Any) -> Triple:
    """Voxels that a source reads at once at least.

    Dask names them ``chunksize``, and Zarr and h5py name them ``chunks``. In Dask and Zarr, ``blocks`` is no tuple.
    """
    for name in ("blocks", "chunksize", "chunks"):
        known = getattr(source, name, None)
        if isinstance(known, tuple) and len(known) == 3 and all(isinstance(n, Integral) for n in known):
            z, y, x = map(int, known)
            return z, y, x
    return _BOX, _BOX, _BOX


def measure(job: Job, run: Run) -> IntensityRange:
    """The intensity range of a volume. With a mask, that of the voxels inside of it.

    Quantiles are exact for integers of up to 16 bits and for volumes of up to 2^24 voxels. In larger volumes of other
    types they are those of 2^24 voxels at random places, which are the same ones as for a volume in memory.

    Args:
        job: the prediction.
        run: runs the tasks.

    Raises:
        ValueError: the volume has no finite value, or none inside of the mask.
    """
    given = job.options.intensity_range
    if given is not None:
        return IntensityRange(*given, NORMALISATIONS[job.normalisation].clip)
    boxes = reading_boxes(job)
    names = [name for name in boxes.names() if job.mask is None or job.mask.meets(boxes.box(name), job.shape)]
    if not has_histogram(np.dtype(job.source.dtype)) and _size(job.shape) > SAMPLED:
        run.stage(job.work, _SAMPLE, partial(_places, job), ["all"])
    items = run.stage(job.work, STAGE, partial(_read, job), names)
    if has_histogram(np.dtype(job.source.dtype)):
        parts = (job.work.read(item) for item in items.values())
        values, counts = _added((part["values"], part["counts"]) for part in parts)
    else:
        values, counts = _gathered(job, items), None
    if job.mask is not None and not values.size:
        raise ValueError(
            "the mask covers the centre of no voxel with a finite value; give a mask that covers some of the volume"
        )
    return range_of_values(values, counts, job.normalisation)


def _added(
    histograms: Iterable[tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]],
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The sum of histograms: the values that occur, ascending, and how often."""
    total = np.zeros(_VALUES, np.int64)
    for values, counts in histograms:
        total[values - _LOWEST] += counts
    occurring = np.flatnonzero(total)
    return occurring + _LOWEST, total[occurring]


def _gathered(job: Job, items: Mapping[str, Item]) -> Float64[np.ndarray, " n"]:
    """The values of all boxes, ascending, with the smallest and the largest one of the volume."""
    values, ends = [np.empty(0)], [np.empty(0)]
    for item in items.values():
        part = job.work.read(item)
        values.append(np.array(part["values"]))  # a view would keep the file open
        ends.append(np.array(part.get("ends", ()), np.float64))
    extremes = np.concatenate(ends)
    if extremes.size:
        values.append(np.array([extremes.min(), extremes.max()]))
    gathered = np.concatenate(values)
    gathered.sort()
    return gathered


def _read(job: Job, name: str) -> Item:
    """The values of a box: how often each occurs, or all of them, or those of the sample with the extremes."""
    box = reading_boxes(job).box(name)
    voxels = np.asarray(job.source[slices(box)]).reshape(-1)
    inside = None if job.mask is None else job.mask.voxels(box, job.shape).reshape(-1)
    if has_histogram(voxels.dtype):
        values, counts = _added(histogram(piece[None]) for piece in _pieces(voxels, inside))
        return job.work.write(STAGE, name, {"values": values, "counts": counts})
    if _size(job.shape) <= SAMPLED:
        kept = voxels if inside is None else voxels[inside]
        return job.work.write(STAGE, name, {"values": kept[np.isfinite(kept)].astype(np.float64)})
    return job.work.write(STAGE, name, _sampled(job, name, voxels, inside))


def _sampled(
    job: Job, name: str, voxels: Shaped[np.ndarray, " n"], inside: Bool[np.ndarray, " n"] | None
) -> Arrays:
    """The finite values at the places of the sample that lie in a box, and its smallest and largest finite value."""
    items = job.work.complete(_SAMPLE)
    assert items is not None
    places = job.work.read(items["all"])[name]
    picked = voxels[places]
    if inside is not None:
        picked = picked[inside[places]]
    finite = (piece[np.isfinite(piece)] for piece in _pieces(voxels, inside))
    ends = [end for piece in finite if piece.size for end in (piece.min(), piece.max())]
    return {
        "values": picked[np.isfinite(picked)].astype(np.float64),
        "ends": np.array([min(ends), max(ends)] if ends else [], np.float64),
    }


def _pieces(
    voxels: Shaped[np.ndarray, " n"], inside: Bool[np.ndarray, " n"] | None
) -> Iterator[Shaped[np.ndarray, " _"]]:
    """The voxels of a box that lie inside of the mask, some at a time."""
    for start in range(0, voxels.size, _PIECE):
        some = slice(start, start + _PIECE)
        yield voxels[some] if inside is None else voxels[some][inside[some]]


def _places(job: Job, name: str) -> Item:
    """The random places of the sample, as indices into the boxes that hold them."""
    boxes = reading_boxes(job)
    owner, inner = np.empty(SAMPLED, np.int32), np.empty(SAMPLED, np.int64)
    done = 0
    for flat in random_places(_size(job.shape), SAMPLED):
        some = slice(done, done + len(flat))
        owner[some], inner[some] = _in_boxes(flat, boxes)
        done += len(flat)
    inner = inner[np.argsort(owner, kind="stable")]
    names = boxes.names()
    bounds = np.cumsum([0, *np.bincount(owner, minlength=len(names))])
    arrays = {one: inner[bounds[number] : bounds[number + 1]] for number, one in enumerate(names)}
    return job.work.write(_SAMPLE, name, arrays)


def _in_boxes(
    flat: Int64[np.ndarray, " n"], boxes: Boxes
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The numbers of the boxes that hold places of a volume, and the indices of these places in their boxes."""
    owner, inner = np.zeros_like(flat), np.zeros_like(flat)
    places = np.unravel_index(flat, boxes.shape)
    for place, total, size, count in zip(places, boxes.shape, boxes.size, boxes.counts, strict=True):
        box = place // size
        start = box * size
        owner = owner * count + box
        inner = inner * np.minimum(size, total - start) + place - start
    return owner, inner


def _size(shape: Triple) -> int:
    return shape[0] * shape[1] * shape[2]
