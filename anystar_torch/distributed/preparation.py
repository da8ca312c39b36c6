"""The object size of a volume that is read box by box, and how it is cut into tiles."""

import math
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from anystar_torch.arrays import LazyVoxels, Triple
from anystar_torch.distributed import intensity
from anystar_torch.distributed.blocks import BLOCK, Boxes, Corners, slices
from anystar_torch.distributed.job import Job, Prepared
from anystar_torch.distributed.run import Run
from anystar_torch.distributed.work_folder import Item
from anystar_torch.inference.coarse_pass import COARSE_FACTOR
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import ObjectSize, SizeEstimate, check_given_size
from anystar_torch.inference.plan import (
    Layout,
    MemoryState,
    TileOptions,
    plan_layout,
    voxels_that_fit,
)
from anystar_torch.inference.size_estimator import SizeEstimator
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.system.progress import silent

EXAMINED = 1 << 30
"""Voxels of a volume up to which the estimate of the size is that of the volume in memory. Of larger ones, parts are
examined."""

_PART = 384  # voxels along each axis of such a part
_PARTS = 3
_FEW = 4  # diameters along an axis of a part; in parts of two or three, estimates are 10 to 30 % too small
_LARGEST_PART = 0.65  # of a volume that is larger than a block, in a tile, at most: half of it and a halo
_PROBES = 8  # places along each axis at which a volume without a coarse level is examined
_PROBE = 32  # voxels along each axis of such a place
_COARSE = 1 << 26  # voxels of a coarse level that is read at once, at most


def prepare(job: Job, run: Run) -> tuple[Job, ObjectSize]:
    """The job with intensity range, object size and tiles.

    Args:
        job: the prediction.
        run: runs the tasks.

    Raises:
        ValueError: the volume has no finite value, or none inside of the mask, the diameter is below 1 voxel, or the
            memory is too small.
    """
    intensities = intensity.measure(job, run)
    found = run.stage(job.work, "size", partial(_size, job, intensities), ["all"])["all"]
    size = _size_from(found.facts)
    planned = run.stage(job.work, "plan", partial(_plan, job, intensities, size.diameter), ["all"])["all"]
    return replace(job, prepared=Prepared.from_facts(planned.facts["prepared"])), size


def _size(job: Job, intensities: IntensityRange, name: str) -> Item:
    """The object size, given or estimated."""
    size = _object_size(job, intensities)
    facts = {
        "diameter": size.diameter,
        "estimate": None if size.estimate is None else asdict(size.estimate),
        "warnings": [[str(warning), list(_arguments(warning))] for warning in size.warnings],
    }
    return job.work.write("size", name, {}, facts)


def _size_from(facts: dict[str, Any]) -> ObjectSize:
    estimate = None if facts["estimate"] is None else SizeEstimate(**facts["estimate"])
    warnings = tuple(SizeWarning(text, tuple(arguments)) for text, arguments in facts["warnings"])
    return ObjectSize(facts["diameter"], estimate, warnings)


def _arguments(warning: Warning) -> tuple[str, ...]:
    return tuple(getattr(warning, "arguments", ()))


def _object_size(job: Job, intensities: IntensityRange) -> ObjectSize:
    volume = InputVolume(job.source, job.options.spacing, intensities)
    if job.options.diameter is not None:
        return check_given_size(job.options.diameter, volume)
    if np.prod(job.shape, dtype=np.int64) <= EXAMINED or intensities.constant or not job.config.sizes_known:
        return _estimate(job, volume)
    sizes = [_estimate(job, volume.part(slices(box))) for box in busiest_boxes(job, intensities)]
    estimated = sorted((s for s in sizes if s.estimate is not None), key=lambda s: s.diameter)
    if not estimated:
        return sizes[0]
    size = estimated[len(estimated) // 2]
    if size.diameter <= _PART / _FEW:
        return size
    message = (
        f"the diameter of {size.diameter:.3g} voxels was estimated on parts of up to {_PART} voxels per axis, "
        "which hold few objects of this size: check the result"
    )
    return replace(size, warnings=(*size.warnings, SizeWarning(message, ("diameter",))))


def _estimate(job: Job, volume: InputVolume) -> ObjectSize:
    estimator = SizeEstimator(job.network, job.config, _max_voxels(job), job.options.coarse_pass)
    return estimator.estimate(volume, silent)


def _max_voxels(job: Job) -> float:
    """Voxels that the network can process at once, beside the labels that one task writes."""
    device = job.network.device
    state = MemoryState.now(device)
    return voxels_that_fit(
        job.network, state.budget(device, job.machine.max_memory, job.options.shard, whole=False)
    )


def busiest_boxes(job: Job, intensities: IntensityRange) -> list[Corners]:
    """Boxes of the volume in which grey values vary most.

    They are chosen on a coarse level of the source. If it has none, small boxes at regular places are compared.

    Args:
        job: the prediction.
        intensities: intensity range of the volume.
    """
    texture = _texture(job, intensities)
    boxes: list[Corners] = []
    for _ in range(_PARTS):
        k, j, i = map(int, np.unravel_index(int(texture.argmax()), texture.shape))
        peak = k, j, i
        if texture[peak] < 0:
            break
        size = [min(_PART, n) for n in job.shape]
        place = _place(job, peak, texture.shape)
        centre = [k * n / m for k, n, m in zip(place, job.shape, texture.shape, strict=True)]
        bounds = zip(centre, size, job.shape, strict=True)
        z, y, x = (int(min(max(c - s / 2, 0), n - s)) for c, s, n in bounds)
        d, h, w = (a + s for a, s in zip((z, y, x), size, strict=True))
        boxes.append(((z, y, x), (d, h, w)))
        scale = [m / n for m, n in zip(texture.shape, job.shape, strict=True)]
        covered = tuple(
            slice(max(0, int(a * f)), int(np.ceil(b * f)))
            for a, b, f in zip((z, y, x), (d, h, w), scale, strict=True)
        )
        texture[covered] = -1
    return boxes


def _place(job: Job, cell: Triple, shape: Triple) -> Float64[np.ndarray, " 3"]:
    """The place in a cell of the texture that is examined: its centre, or the nearest one inside of the mask."""
    centre = np.array(cell) + 0.5
    if job.mask is None:
        return centre
    z, y, x = cell
    return job.mask.nearest(centre, (cell, (z + 1, y + 1, x + 1)), shape)


def _texture(job: Job, intensities: IntensityRange) -> Float64[np.ndarray, "d h w"]:
    """How much grey values vary around places of a coarse grid over the volume; negative outside of the mask."""
    coarse = coarse_level(job.source)
    texture = _of_probes(job, intensities) if coarse is None else _of_level(coarse, intensities)
    if job.mask is not None:
        z, y, x = texture.shape
        everywhere = Boxes((z, y, x), (1, 1, 1))
        for name in everywhere.names():
            box = everywhere.box(name)
            if not job.mask.meets(box, (z, y, x)):
                texture[box[0]] = -1
    return texture


def coarse_level(source: Any) -> LazyVoxels | None:
    """The finest level of a source that can be read at once; None where there is none.

    Args:
        source: the volume.
    """
    for level in range(1, getattr(source, "levels", 1)):
        coarse: LazyVoxels = source.at(level=level)
        if np.prod(coarse.shape, dtype=np.int64) <= _COARSE:
            return coarse
    return None


def _of_level(coarse: LazyVoxels, intensities: IntensityRange) -> Float64[np.ndarray, "d h w"]:
    """Standard deviations in boxes of 5 voxels along each axis. Two arrays are changed in place, to save memory."""
    mean = _normalised_level(coarse, intensities)
    square = mean * mean
    for image in (mean, square):
        ndimage.uniform_filter(image, 5, output=image, mode="nearest")
    np.multiply(mean, mean, out=mean)
    np.subtract(square, mean, out=square)
    deviation = np.sqrt(np.maximum(square, 0, out=square), out=square)
    ndimage.gaussian_filter(deviation, 4, output=deviation)
    step = tuple(slice(None, None, max(1, n // 48)) for n in deviation.shape)
    return np.array(deviation[step], np.float64)


def _normalised_level(coarse: LazyVoxels, intensities: IntensityRange) -> Float32[np.ndarray, "d h w"]:
    """The normalised voxels of a level. Only one plane at a time has 64 bits per voxel."""
    voxels = np.asarray(coarse[tuple(slice(0, n) for n in coarse.shape)])
    scaled = np.empty(voxels.shape, np.float32)
    for plane, target in zip(voxels, scaled, strict=True):
        target[...] = _normalised(plane, intensities)
    return scaled


def _of_probes(job: Job, intensities: IntensityRange) -> Float64[np.ndarray, "d h w"]:
    count = [min(_PROBES, max(1, n // _PROBE)) for n in job.shape]
    texture = np.zeros(count)
    for index in np.ndindex(*count):
        place = [int((k + 0.5) * n / m) for k, n, m in zip(index, job.shape, count, strict=True)]
        box = tuple(slice(max(0, p - _PROBE // 2), p + _PROBE // 2) for p in place)
        texture[index] = _normalised(np.asarray(job.source[box]), intensities).std()
    return texture


def _normalised(values: Any, intensities: IntensityRange) -> Float64[np.ndarray, "*size"]:
    finite = np.nan_to_num(values.astype(np.float64), nan=intensities.low)
    span = max(intensities.high - intensities.low, 1e-20)
    scaled: Float64[np.ndarray, "*size"] = np.clip((finite - intensities.low) / span, 0, 1)
    return scaled


def _plan(job: Job, intensities: IntensityRange, diameter: float, name: str) -> Item:
    """How the volume is cut into tiles, for the memory of the worker that plans."""
    nothing = Prepared(
        **asdict(intensities), diameter=diameter, fine=Layout((1, 1, 1), (0, 0, 0), 1), coarse=None
    )
    known = replace(job, prepared=nothing)
    most = _max_voxels(job)
    network, options = job.network, job.options
    prepared = replace(
        nothing,
        fine=_layout(known.scaling().shape, network, options.tiles, most),
        coarse=_layout(known.scaling(COARSE_FACTOR).shape, network, options.tiles, most)
        if options.coarse_pass
        else None,
    )
    facts = {
        "prepared": asdict(prepared),
        "device": str(network.device),
        "precision": str(network.precision).removeprefix("torch."),
    }
    return job.work.write("plan", name, {}, facts)


def _layout(shape: Triple, network: TileNetwork, tiles: TileOptions, most: float) -> Layout:
    """The tiles of a pass. A volume larger than a block has at least two, so that two workers share the work.

    Args:
        shape: of the volume in the pass, (z, y, x).
        network: the network.
        tiles: how tiles are chosen.
        most: voxels that the network can process at once.

    Raises:
        ValueError: not even the smallest tile fits.
    """
    voxels = math.prod(shape)
    if BLOCK**3 < voxels <= most:
        try:
            return plan_layout(shape, network, _LARGEST_PART * voxels, tiles)
        except ValueError:  # half of the volume has no room for the halo
            pass
    return plan_layout(shape, network, most, tiles)
