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
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped
from numpy.typing import DTypeLike

from anystar_torch.io import label_arrays, label_list, label_metadata
from anystar_torch.io.atomic import replace_path
from anystar_torch.io.downsampling import most_frequent
from anystar_torch.io.label_layout import LabelBox, Level, pyramid
from anystar_torch.io.label_list import Inside
from anystar_torch.io.label_metadata import Version
from anystar_torch.io.label_target import UNFINISHED, discard, is_unfinished, refuse, temporary_place
from anystar_torch.io.location import Files, Location, checked, writable
from anystar_torch.io.placement import Placement
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage


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
        listed: the image that the labels lie in, which lists them; None where they lie elsewhere.
    """

    target: Location
    place: Location
    levels: tuple[Level, ...]
    dtype: str
    placement: Placement
    version: Version = "0.5"
    listed: Inside | None = None

    @classmethod
    def create(
        cls,
        path: Location | Inside,
        shape: Sequence[int],
        *,
        placement: Placement | None = None,
        dtype: DTypeLike = np.uint32,
        shard: Sequence[int] | None = None,
        chunk: Sequence[int] | None = None,
        overwrite: bool = False,
    ) -> "LabelStore":
        """Begin a label image, or continue one that was begun with the same arguments.

        Shards of an earlier run stay until they are written again. A run that leaves out empty shards and does not
        continue the earlier one calls :meth:`forget` first.

        Args:
            path: folder or URL of the labels, or the image that they are written into. They get the levels and the
                version of OME-Zarr of that image then. Version 0.4 has no shards; a task writes as many chunks.
            shape: number of voxels, (t), z, y, x.
            placement: voxel size, units and place of the volume; None where they are not known.
            dtype: an integer type that holds all ids.
            shard: voxels (z, y, x) that one task writes; None for 256 along each axis.
            chunk: voxels (z, y, x) that are compressed together; None for 64 along each axis.
            overwrite: whether finished labels, and unfinished ones with other arguments, may be replaced. Finished
                labels in a folder stay until the new ones are finished.

        Raises:
            ValueError: finished labels are there, unfinished ones with other arguments are, or nothing can be written.
        """
        version: Version = "0.5"
        listed, like = None, None
        if isinstance(path, Inside):
            listed, target = path, path.target
            version, like = path.described()
        else:
            target = checked(path)
        placement = placement or Placement()
        levels = pyramid(shape, spacing=placement.scale, shard=shard, chunk=chunk, like=like)
        new = cls(target, temporary_place(target), levels, np.dtype(dtype).name, placement, version, listed)
        with writable(target):
            new._begin(overwrite)
        return new

    @staticmethod
    def check(path: Location | Inside, overwrite: bool = False) -> None:
        """Refuse what :meth:`create` would refuse, before long work.

        Args:
            path: as for :meth:`create`.
            overwrite: as for :meth:`create`.

        Raises:
            ValueError: finished labels are there, or nothing can be written.
        """
        target = path.target if isinstance(path, Inside) else checked(path)
        with writable(target):
            refuse(target, path if isinstance(path, Inside) else None, overwrite)

    @staticmethod
    def is_begun(path: Location | Inside) -> bool:
        """Whether there are unfinished labels, which :meth:`create` would continue.

        Args:
            path: as for :meth:`create`.
        """
        target = path.target if isinstance(path, Inside) else checked(path)
        return is_unfinished(temporary_place(target))

    @staticmethod
    def forget(path: Location | Inside) -> None:
        """Remove unfinished labels, if there are any.

        Args:
            path: as for :meth:`create`.

        Raises:
            ValueError: they cannot be removed.
        """
        target = path.target if isinstance(path, Inside) else checked(path)
        with writable(target):
            discard(temporary_place(target))

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
        low, high, most = int(labels.min()), int(labels.max()), np.iinfo(self.dtype).max
        if low < 0 or high > most:
            raise ValueError(f"labels must be 0 to {most} for {self.dtype}, got {low if low < 0 else high}")
        with writable(self.place):
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
            read: Shaped[np.ndarray, "..."] = np.asarray(source[coarse.source_of(part, finer)])
            at = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
            labels[at] = most_frequent(read, coarse.factors) if read.any() else 0
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
        about = label_metadata.attributes(
            self.levels,
            self.placement,
            version=self.version,
            name="labels" if self.listed is None else self.listed.name,
            source=None if self.listed is None else label_list.SOURCE,
        )
        described = label_arrays.metadata_files(about, record, self.levels, self.dtype, self.version)
        with writable(self.target):
            self._publish(described)
        return self.target

    def discard(self) -> None:
        """Remove what was written, if the labels are not finished."""
        discard(self.place)

    def _publish(self, described: dict[str, bytes]) -> None:
        """Write the metadata files, then rename and list the labels."""
        if isinstance(self.place, Path):
            for left in self.place.rglob("*.partial"):  # by a process that was killed while it wrote
                left.unlink()
        files = Files(self.place)
        for name, content in described.items():
            files.write(name, content)
        if isinstance(self.place, Path) and self.place != self.target:
            replace_path(self.place, Path(self.target))
        # After the new name, so that a killed run can be continued until then.
        Files(self.target).remove(UNFINISHED)
        if self.listed is not None:
            label_list.add(self.listed, self.version)

    def _begin(self, overwrite: bool) -> None:
        """Refuse a target that is finished, and note what is being written.

        Raises:
            ValueError: as for :meth:`create`.
        """
        finished = refuse(self.target, self.listed, overwrite)
        if isinstance(self.target, str) and finished:
            Files(self.target).remove()
        files = Files(self.place)
        plan = json.dumps({"levels": [asdict(one) for one in self.levels], "dtype": self.dtype}, indent=1)
        begun = files.read(UNFINISHED)
        if begun is not None and begun.decode() == plan:
            return
        if begun is not None and not overwrite:
            raise ValueError(
                f"{self.place} holds unfinished labels of another size or number type; remove or overwrite it"
            )
        files.remove()
        files.write(UNFINISHED, plan.encode())

    def _array(self, level: int) -> Any:
        return label_arrays.unlisted_array(self.place, level, self.levels[level], self.dtype, self.version)


def write(
    path: Location | Inside,
    labels: Integer[np.ndarray, "*t d h w"],
    like: SpatialImage,
    record: RunRecord | None,
    overwrite: bool = False,
) -> None:
    """Write labels that are in memory.

    Args:
        path: folder or URL of the labels, or the image that they are written into.
        labels: of one volume or of a time series.
        like: whose voxel size and place the labels get.
        record: what made the labels.
        overwrite: whether finished labels may be replaced.

    Raises:
        ValueError: the labels cannot be written.
    """
    placement = Placement.of(like.spacing, like.unit, like.geometry, like.affine)
    store = LabelStore.create(
        path, labels.shape, placement=placement, dtype=labels.dtype, overwrite=overwrite
    )
    try:
        for box in store.shards():
            store.write(0, box, labels[box])
        for level in range(1, len(store.levels)):
            for box in store.shards(level):
                store.downsample(level, box)
        store.finish(record)
    except BaseException:
        store.discard()
        raise


def _described(box: LabelBox) -> str:
    return ", ".join(f"{one.start}:{one.stop}" for one in box)
