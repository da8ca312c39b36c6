"""Opens the volumes of a large prediction, and continues or begins the work."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from anystar_torch import __version__
from anystar_torch.arrays import LazyVoxels, Spacing
from anystar_torch.distributed.job import Job, Machine, Options
from anystar_torch.distributed.mask import VolumeMask
from anystar_torch.distributed.options import LargeOptions
from anystar_torch.distributed.places import (
    MASK,
    MODEL,
    SETTINGS,
    check_work_folder,
    discard,
    file_of,
    is_other_target,
    note_target,
)
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.inference.candidates import checked_overlap, checked_probability
from anystar_torch.inference.input_volume import checked_array, diameter_in_voxels, validated_spacing
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.io import Inside, LabelStore, LazyVolume, Location, container, open_volume, read
from anystar_torch.io.axes import not_a_volume
from anystar_torch.io.identity import checksum, version_of
from anystar_torch.io.lazy_volume import Choice
from anystar_torch.io.location import writable
from anystar_torch.network import weights

Source = Location | LazyVolume | LazyVoxels | NDArray[Any]
"""A volume: file, folder or URL; or in memory, or read in boxes."""


def frames_of(source: Source | Sequence[Source], wishes: LargeOptions) -> list[Any]:
    """The volumes to predict: one, or one per time point.

    Args:
        source: file, folder or URL; or a volume; or a list of volumes of one size.
        wishes: the channel, the time point, the axes and the scene.

    Raises:
        TypeError: a volume is no array of real numbers.
        ValueError: the source is missing, broken or not a volume, the volumes of a list have different sizes, or an
            option chooses a part of what is no file.
    """
    if isinstance(source, list):
        volumes = [_checked(one, wishes) for one in source]
        sizes = sorted({tuple(one.shape) for one in volumes})
        if len(sizes) != 1:
            raise ValueError(
                f"time points must be volumes of one size, got {', '.join(map(str, sizes)) or 'none'}"
            )
        return volumes
    if not isinstance(source, Path | str):
        return [_checked(source, wishes)]
    chosen = {name: getattr(wishes, name) for name in ("channel", "axes", "spacing", "scene")}
    if wishes.frame is not None:
        return [open_volume(source, frame=wishes.frame, **chosen)]
    try:
        first = open_volume(source, **chosen)
    except ValueError:  # several time points, of which one must be chosen
        first = open_volume(source, frame=0, **chosen)
    count = first.frames
    return [first] if count == 1 else [first.at(frame=frame) for frame in range(count)]


def _checked(source: Any, wishes: LargeOptions) -> Any:
    """A volume that is given as such, and not as a file.

    Raises:
        TypeError: it is no array of real numbers.
        ValueError: it does not have three axes, or no voxels; or an option chooses a part of it.
    """
    choosing = [name for name in ("channel", "frame", "axes", "scene") if getattr(wishes, name) is not None]
    if choosing:
        raise ValueError(
            f"{', '.join(choosing)}: only a file can hold more than one volume; give its path, or the volume alone"
        )
    if isinstance(source, np.ndarray | torch.Tensor):
        return checked_array(source)
    if not all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        raise TypeError(f"a volume must be a path, a URL or an array, got {type(source).__name__}")
    shape, kind = tuple(source.shape), np.dtype(source.dtype)
    if kind.kind not in "uifb":
        raise TypeError(f"volume must hold real numbers, got {kind}")
    if len(shape) != 3:
        raise ValueError(not_a_volume("the volume", shape))
    if 0 in shape:
        raise ValueError(f"the volume holds no voxels: its shape is {shape}")
    return source


def jobs_of(frames: Sequence[Any], network: AnyStar, wishes: LargeOptions, place: Path) -> list[Job]:
    """One job per volume.

    Args:
        frames: the volumes.
        network: the network with its options.
        wishes: what the user chose beside the network.
        place: the work folder.

    Raises:
        ValueError: an argument is not valid, or the mask is empty.
    """
    config = network.config
    spacing = spacing_of(frames[0], wishes)
    has_unit = wishes.spacing is not None or getattr(frames[0], "unit", "") == "um"
    shape: Spacing = network.network.rays.anisotropy if spacing is None else spacing
    given = wishes.diameter
    diameter = None if given is None else diameter_in_voxels(given, spacing if has_unit else None)
    limits, (z, y, x) = wishes.intensity_range, wishes.shard
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
        block=int(wishes.block),
        shard=(int(z), int(y), int(x)),
    )
    mask, identity = _mask(wishes, place), _identity_of_model(network)
    return [
        Job(
            work=WorkFolder(place / f"frame-{number:05d}"),
            source=frame,
            mask=mask,
            options=settings,
            machine=Machine(device=wishes.device, max_memory=network.max_memory, threads=wishes.threads),
            model=place / MODEL,
            identity=identity,
            normalisation=config.normalisation,
        )
        for number, frame in enumerate(frames)
    ]


def spacing_of(source: Any, wishes: LargeOptions) -> Spacing | None:
    """The voxel size that is used: the given one, or that of the file; None where there is none.

    Args:
        source: the volume.
        wishes: what the user chose.

    Raises:
        ValueError: it is not three positive numbers.
    """
    spacing = getattr(source, "spacing", None) if wishes.spacing is None else wishes.spacing
    return None if spacing is None else validated_spacing(spacing)


def _mask(wishes: LargeOptions, place: Path) -> VolumeMask | None:
    if wishes.mask is None:
        return None
    values = wishes.mask if isinstance(wishes.mask, np.ndarray) else read(Path(wishes.mask)).array
    return replace(VolumeMask.of(values), file=place / MASK)


def begin(
    place: Path, target: Location | Inside, jobs: Sequence[Job], network: AnyStar, overwrite: bool
) -> None:
    """Continue the work of an earlier run with the same settings, or begin.

    Args:
        place: the work folder.
        target: of the labels.
        jobs: one per volume.
        network: the network, which the work folder gets a copy of for the workers.
        overwrite: whether the work of a run with other settings is replaced.

    Raises:
        ValueError: the work folder belongs to a run with other settings, or holds something else.
    """
    check_work_folder(place)
    folder, job = WorkFolder(place), jobs[0]
    settings = {
        "version": __version__,
        "source": [[_identity(one.source), list(one.shape)] for one in jobs],
        "number type": str(job.source.dtype),
        "model": job.identity,
        "normalisation": job.normalisation,
        "mask": None if job.mask is None else checksum(job.mask.inside),
        **job.options.facts(),
    }
    settings = WorkFolder.plain(settings)
    earlier = folder.noted(SETTINGS)
    if earlier is None and not overwrite and any(place.glob("frame-*")):
        raise ValueError(
            f"{place} holds results of tasks, and not the settings of their run; overwrite or remove it"
        )
    if earlier is not None and earlier != settings:
        changed = sorted(k for k in {*earlier, *settings} if earlier.get(k) != settings.get(k))
        if not overwrite:
            raise ValueError(
                f"{place} holds the work of a run with other settings ({', '.join(changed)}); give the same ones to "
                "continue it, or overwrite it"
            )
        earlier = None
    if earlier is None:
        LabelStore.forget(target)  # those of another run: shards without objects are not written again
        with writable(place):
            discard(place)  # also what a run left that was stopped before it wrote its settings
            place.mkdir(parents=True, exist_ok=True)
            weights.save(job.model, network.network, network.config)
            folder.note(SETTINGS, settings)
    if job.mask is not None:
        job.mask.store()
    if any([one.work.repair() for one in jobs]):
        LabelStore.forget(target)  # objects that are computed again may differ
    if is_other_target(place, target) or not LabelStore.is_begun(target):
        for one in jobs:  # labels that are noted as written are elsewhere, or gone
            one.work.forget(("labels", "pyramid"))
    with writable(place):
        note_target(place, target)


def _identity(source: Any) -> str:
    """What tells a volume from another one: its file, its version and the choice in it, or the voxels of an array.

    An array of which nothing of this is known differs from every other one, so that its work is never continued.
    """
    if isinstance(source, np.ndarray):
        return checksum(source)
    choice = getattr(source, "choice", None)
    if isinstance(choice, Choice) and isinstance(choice.path, Path):
        return f"{replace(choice, path=choice.path.absolute())}, version {version_of(container(choice.path))}"
    if choice is not None:  # a URL has no version that is quick to ask for; other volumes name themselves
        return str(choice)
    if (path := file_of(source)) is not None and path.exists():
        return f"{path} {getattr(source, 'name', '')}, version {version_of(path)}"
    if type(source).__module__.startswith("dask."):
        return str(source.name)  # holds a checksum of the graph
    return uuid4().hex


def _identity_of_model(network: AnyStar) -> str:
    """What tells a network from another one: its weights and its configuration."""
    digest = hashlib.blake2b(repr(network.config).encode(), digest_size=8)
    for name, value in sorted(network.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
