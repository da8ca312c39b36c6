"""Volumes beyond memory: the prediction block by block, for the layers of a viewer."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from napari.layers import Labels

from anystar_torch import io
from anystar_torch.io.placement import Placement
from anystar_torch.napari.layer_volume import LabelsPlace, LayerVolume
from anystar_torch.napari.segmenter import Segmenter, Target, in_memory
from anystar_torch.system.memory import available_memory

_LABELS = 8  # bytes per voxel: the labels, and their copy in the layer
_SIDE = 16  # voxels of a block that is compared with the file
_SHARE = 0.5  # of the free memory, which a volume with its labels may take


def too_large(volume: LayerVolume, frames: int = 1) -> bool:
    """Whether a lazy volume and the labels of all its time points do not fit into memory.

    Args:
        volume: data of a layer.
        frames: number of time points that are segmented, one after the other.
    """
    if in_memory(volume):
        return False
    labels = frames * _LABELS * math.prod(volume.shape)
    return bool(volume.nbytes + labels > _SHARE * available_memory())


class LayerVoxels:
    """One volume of a layer, of which boxes are read on demand.

    Attributes:
        choice: tells it from other volumes, also after the viewer was started again.

    Args:
        target: the volume.
    """

    ndim = 3

    def __init__(self, target: Target) -> None:
        self.target = target
        array = target.volume.levels[0]
        name = getattr(array, "name", "")  # of a Dask array: it contains a checksum of what it consists of
        self.choice = (
            f"{target.volume.name} {getattr(array, 'store_path', '')} {name}, time point {target.frame}, "
            f"channel {target.channel}"
        )
        self.shape = target.volume.shape
        self.dtype = np.dtype(target.volume.levels[0].dtype)
        self.spacing, self.unit = target.volume.spacing
        self.placement = Placement.of(self.spacing, self.unit, None, None)

    def __getitem__(self, box: Any) -> Shaped[np.ndarray, "d h w"]:
        target = self.target
        parts = (slice(None),) * 3 if box is Ellipsis else tuple(box)
        return target.volume.read(target.frame, target.channel, (parts[0], parts[1], parts[2]))


def segment_large(
    segmenter: Segmenter,
    targets: Sequence[Target],
    path: Path,
    diameter: float | None,
    thresholds: tuple[float, float],
) -> Path:
    """Segment a volume, or a time series, block by block and write its labels as OME-Zarr.

    It continues a run that was interrupted.

    Args:
        segmenter: the network.
        targets: the volume, or one per time point.
        path: folder of the labels.
        diameter: in voxels of the finest axis; None to estimate it, for every time point.
        thresholds: ``prob_thresh`` and ``nms_thresh``.

    Returns:
        The folder of the labels.

    Raises:
        ValueError: the folder exists, or the work failed. The message says what is kept.
    """
    from anystar_torch.distributed import predict

    sources = [_source(target) for target in targets]
    written = predict(
        sources[0] if len(sources) == 1 else sources,
        path,
        model=segmenter.model,
        progress=False,
        spacing=targets[0].spacing,
        diameter=diameter,
        prob_thresh=thresholds[0],
        nms_thresh=thresholds[1],
        device=segmenter.device,
    )
    return Path(written.target)


def _source(target: Target) -> Any:
    """The file of the layer where it holds the same volume, or else the layer's own array."""
    volume, own = target.volume, LayerVoxels(target)
    if volume.path is None:
        return own
    try:
        opened = io.open_volume(volume.path, **volume.in_file(target.frame, target.channel))
        if same_voxels(opened, own):
            return opened
        opened.close()
    except (ValueError, ImportError):  # napari has read it by other rules
        pass
    return own


def same_voxels(one: io.LazyVolume, other: LayerVoxels) -> bool:
    """Whether two volumes are equal in the corners, the centre and the middles of edges and faces.

    A layer may show other voxels than its file: a plugin has filtered them, or the user has transposed its axes.

    Args:
        one: a volume.
        other: the volume to compare with.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    starts = [sorted({0, max(0, size - _SIDE) // 2, max(0, size - _SIDE)}) for size in one.shape]
    for corner in itertools.product(*starts):
        box = tuple(slice(start, start + _SIDE) for start in corner)
        if not np.array_equal(one[box], other[box], equal_nan=True):
            return False
    return True


def labels_layer(path: Path, first: Target) -> Labels:
    """Labels on disk as a layer that reads what is in view. It has the dimensions of the image.

    Args:
        path: folder of the labels.
        first: the volume that was segmented, or the first time point of the series.
    """
    import dask.array
    import zarr

    group = zarr.open_group(path, mode="r")
    known: Any = group.attrs["ome"]
    levels: list[Any] = [group[level["path"]] for level in known["multiscales"][0]["datasets"]]
    image = first.volume.letters
    own = "TZYX" if len(levels[0].shape) > 3 else "ZYX"
    # napari aligns a layer of fewer dimensions with the last dimensions of the viewer
    more = [letter for letter in image if letter not in own]
    order = [[*more, *own].index(letter) for letter in image]
    lazy = [dask.array.from_zarr(level)[(None,) * len(more)].transpose(order) for level in levels]
    place = LabelsPlace(first.volume, first.channel, (0, 0, 0), first.volume.shape, first.frame)
    return Labels(
        lazy if len(lazy) > 1 else lazy[0],
        multiscale=len(lazy) > 1,
        name=path.name,
        **place.transform,
        axis_labels=tuple(image.lower()),
    )
