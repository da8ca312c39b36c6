"""Labels as an OME-Zarr image that many tasks write, one whole shard each.

Zarr rewrites the whole file of a shard for every part of it, so two tasks in one shard lose each other's voxels without
an error (zarr-python #3682). :meth:`LabelStore.write` therefore takes exactly one shard.

The metadata are written last: what is not finished is no Zarr array for any reader. In a folder the labels also have
a temporary name until then.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer, Shaped
from numpy.typing import DTypeLike, NDArray

from anystar_torch.io import label_metadata
from anystar_torch.io.atomic import check_target, replace_path
from anystar_torch.io.downsampling import most_frequent
from anystar_torch.io.label_layout import LabelBox, Level, pyramid
from anystar_torch.io.label_metadata import RECORD, Version
from anystar_torch.io.location import Files, Location, checked, name_of, store
from anystar_torch.io.placement import Placement
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage

_UNFINISHED = "anystar-unfinished.json"  # what is being written, for the run that continues it


@dataclass(frozen=True)
class LabelStore:
    """A label image that is being written. It can be pickled and used by several processes at once.

    Attributes:
        target: where the finished labels will be.
        place: where they are written until then.
        levels: of the pyramid.
        dtype: number type of the labels.
        placement: voxel size, units and place.
        version: of OME-Zarr.
        source: path of the group of the volume, relative to the labels; None where they lie elsewhere.
    """

    target: Location
    place: Location
    levels: tuple[Level, ...]
    dtype: str
    placement: Placement
    version: Version = "0.5"
    source: str | None = None

    @classmethod
    def create(
        cls,
        path: Location,
        shape: Sequence[int],
        *,
        placement: Placement | None = None,
        dtype: DTypeLike = np.uint32,
        shard: Sequence[int] | None = None,
        chunk: Sequence[int] | None = None,
        overwrite: bool = False,
    ) -> "LabelStore":
        """Begin a label image, or continue one that was begun with the same arguments.

        Args:
            path: folder or URL of the labels.
            shape: number of voxels, (t), z, y, x.
            placement: voxel size, units and place of the volume; None where they are not known.
            dtype: an integer type that holds all ids.
            shard: voxels (z, y, x) that one task writes; None for 256 along each axis.
            chunk: voxels (z, y, x) that are compressed together; None for 64 along each axis.
            overwrite: whether finished labels may be replaced. Those in a folder stay until the new ones are finished.

        Raises:
            ValueError: finished labels are there, unfinished ones with other arguments are, or nothing can be written.
        """
        placement = placement or Placement()
        levels = pyramid(shape, spacing=placement.scale, shard=shard, chunk=chunk)
        target = checked(path)
        new = cls(target, _place(target), levels, np.dtype(dtype).name, placement)
        new._begin(overwrite)
        return new

    def shards(self, level: int = 0) -> list[LabelBox]:
        """The boxes that tasks write, along (t), z, y, x.

        Args:
            level: of the pyramid; 0 is the finest.
        """
        return list(self.levels[level].boxes())

    def write(self, level: int, box: LabelBox, labels: Integer[np.ndarray, "..."]) -> None:
        """Write one whole shard. A second time with the same labels changes nothing.

        Args:
            level: of the pyramid.
            box: one of :meth:`shards`.
            labels: ``[D, H, W]`` or ``[T, D, H, W]``, as large as the box; a time axis of one may be left out.

        Raises:
            ValueError: the box is not one shard, the labels do not fill it, or an id is too large for the number type.
        """
        if not self.levels[level].is_shard(box):
            raise ValueError(f"a task must write one whole shard of level {level}, got {_described(box)}")
        expected = tuple(one.stop - one.start for one in box)
        if labels.shape not in (expected, expected[len(expected) - 3 :]):
            raise ValueError(
                f"labels of shard {_described(box)} must have shape {expected}, got {labels.shape}"
            )
        most = np.iinfo(self.dtype).max
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > most:
            raise ValueError(f"labels must be 0 to {most} for {self.dtype}, got {low if low < 0 else high}")
        self._array(level)[box] = labels.reshape(expected).astype(self.dtype, copy=False)

    def downsample(self, level: int, box: LabelBox) -> None:
        """Make one whole shard of a coarse level from the level before it, which must be written there.

        Args:
            level: from 1 on.
            box: one of :meth:`shards` of the level.
        """
        finer, coarse = self.levels[level - 1], self.levels[level]
        source = self._array(level - 1)
        labels = np.empty([one.stop - one.start for one in box], self.dtype)
        for part in coarse.chunks_of(box):  # chunk by chunk: what is read at once has eight times the voxels
            read: Shaped[NDArray[Any], "..."] = np.asarray(source[coarse.source_of(part, finer)])
            at = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
            labels[at] = most_frequent(read, coarse.factors)
        self.write(level, box, labels)

    def read(self, level: int, box: LabelBox) -> Integer[np.ndarray, "..."]:
        """Labels of any box, as far as they are written; 0 elsewhere.

        Args:
            level: of the pyramid.
            box: slices along (t), z, y, x.
        """
        return np.asarray(self._array(level)[box])

    def finish(self, record: RunRecord | None = None) -> Location:
        """Write the metadata and give the labels their name. Before this they are no Zarr image for any reader.

        Args:
            record: what made the labels; it is stored in the attributes of the group.

        Returns:
            Where the labels are.

        Raises:
            ValueError: the metadata are not valid, or the labels cannot get their name.
        """
        files = Files(self.place)
        for name in files.names():
            if name.endswith(".partial"):  # of a process that was killed while it wrote
                files.remove(name)
        for name, content in self._metadata(record).items():
            files.write(name, content)
        files.remove(_UNFINISHED)
        if isinstance(self.place, Path) and self.place != self.target:
            replace_path(self.place, Path(self.target))
        return self.target

    def discard(self) -> None:
        """Remove what was written, if the labels are not finished."""
        Files(self.place).remove()

    @property
    def _zarr_format(self) -> Literal[2, 3]:
        return 2 if self.version == "0.4" else 3

    def _begin(self, overwrite: bool) -> None:
        """Refuse a target that is finished, and note what is being written.

        Raises:
            ValueError: as for :meth:`create`.
        """
        finished = self.target.exists() if isinstance(self.target, Path) else _is_group(self.target)
        if finished and not overwrite:
            raise ValueError(f"{self.target} exists; overwrite it or choose another name")
        if isinstance(self.target, Path):
            check_target(self.target, overwrite)
        files = Files(self.place)
        plan = json.dumps({"levels": [asdict(one) for one in self.levels], "dtype": self.dtype}, indent=1)
        begun = files.read(_UNFINISHED)
        if begun is None:
            files.remove()
            files.write(_UNFINISHED, plan.encode())
        elif begun.decode() != plan:
            raise ValueError(
                f"{self.place} holds unfinished labels of another size or number type; remove it to begin anew"
            )

    def _metadata(self, record: RunRecord | None) -> dict[str, bytes]:
        """The metadata files by name, those of the group last: without them nothing is found."""
        import zarr
        from zarr.storage import MemoryStore

        name = "labels" if self.source is None else name_of(self.target)
        about = label_metadata.attributes(
            self.levels, self.placement, version=self.version, name=name, source=self.source
        )
        made = {} if record is None else {RECORD: json.loads(record.to_json())}
        content: dict[str, Any] = {}
        model = MemoryStore(content)
        zarr.create_group(model, attributes={**about, **made}, zarr_format=self._zarr_format)
        for number in range(len(self.levels)):
            zarr.create_array(model, name=str(number), **self._options(number))
        return {
            name: content[name].to_bytes()
            for name in sorted(content, key=lambda name: ("/" not in name, name))
        }

    def _array(self, level: int) -> Any:
        """An array that is written without its metadata."""
        import zarr
        from zarr.storage import MemoryStore, StorePath

        model = zarr.create_array(MemoryStore(), **self._options(level))
        path = StorePath(store(self.place, read_only=False), str(level))
        return zarr.Array(zarr.AsyncArray(model.metadata, path))

    def _options(self, level: int) -> dict[str, Any]:
        """Arguments of Zarr that create the array of a level."""
        one = self.levels[level]
        options: dict[str, Any] = {
            "shape": one.shape,
            "chunks": one.chunk,
            "dtype": self.dtype,
            "fill_value": 0,
        }
        if self.version == "0.4":
            separator = {"name": "v2", "separator": "/"}
            return options | {"zarr_format": 2, "chunk_key_encoding": separator}
        names = label_metadata.axis_names(len(one.shape))
        return options | {"shards": one.shard, "zarr_format": 3, "dimension_names": names}


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels that are in memory.

    Args:
        path: the folder; it must be new.
        labels: of one volume or of a time series.
        like: whose voxel size and place the labels get.
        record: what made the labels.

    Raises:
        ValueError: the labels cannot be written.
    """
    placement = Placement.of(like.spacing, like.unit, like.geometry, like.affine)
    levels = pyramid(labels.shape, spacing=placement.scale)
    new = LabelStore(path, path, levels, labels.dtype.name, placement)
    for number in range(len(levels)):
        for box in new.shards(number):
            if number:
                new.downsample(number, box)
            else:
                new.write(0, box, labels[box])
    new.finish(record)


def _place(target: Location) -> Location:
    """Where labels are written until they are finished: beside the target, or at it where nothing can be renamed."""
    return target.with_name(f".{target.name}.partial") if isinstance(target, Path) else target


def _is_group(url: str) -> bool:
    """Whether a URL is a finished Zarr group."""
    files = Files(url)
    return any(files.read(name) is not None for name in ("zarr.json", ".zgroup"))


def _described(box: LabelBox) -> str:
    return ", ".join(f"{one.start}:{one.stop}" for one in box)
