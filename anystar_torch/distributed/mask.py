"""A mask of lower resolution: where in a volume objects may be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped

from anystar_torch.arrays import Triple
from anystar_torch.distributed.blocks import Corners
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.axes import not_a_volume
from anystar_torch.system.errors import last_line


@dataclass(frozen=True, eq=False)
class VolumeMask:
    """A mask over a volume. Both cover the same space, with any numbers of voxels.

    Attributes:
        inside: where objects may be, (z, y, x).
        file: file with ``inside``, which is sent to other processes in place of the voxels; None to send the voxels.
    """

    inside: Bool[np.ndarray, "d h w"]
    file: Path | None = None

    @classmethod
    def of(cls, values: Shaped[np.ndarray, "..."]) -> "VolumeMask":
        """The mask of a volume that is not 0 where objects may be.

        Args:
            values: labels or grey values of any type.

        Raises:
            ValueError: it does not have three axes, or all values are 0.
        """
        if values.ndim != 3:
            raise ValueError(not_a_volume("the mask", values.shape))
        inside = np.asarray(values) != 0
        if not inside.any():
            raise ValueError("the mask is 0 everywhere, so that there is nothing to predict")
        return cls(inside)

    @classmethod
    def stored(cls, file: Path) -> "VolumeMask":
        """A mask in a file, which is mapped into memory.

        Args:
            file: that :meth:`store` wrote.

        Raises:
            ValueError: there is no such file.
        """
        try:
            return cls(np.load(file, mmap_mode="r"), file)
        except OSError as error:
            raise ValueError(f"cannot read {file}: {error.strerror or last_line(error)}") from error

    def store(self) -> None:
        """Write the file of the mask, if it is not there.

        Raises:
            ValueError: it cannot be written.
        """
        if self.file is not None and not self.file.exists():
            with atomic_write(self.file) as temporary:
                np.save(temporary, self.inside)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return super().__reduce__() if self.file is None else (VolumeMask.stored, (self.file,))

    def holds(self, points: Float[np.ndarray, "n 3"], shape: Triple) -> Bool[np.ndarray, " n"]:
        """Which points lie inside.

        Args:
            points: (z, y, x) in voxels of a grid over the volume; integers are voxel centres.
            shape: number of voxels of that grid.
        """
        z, y, x = (self._places(points[:, axis], shape[axis], axis) for axis in range(3))
        inside: Bool[np.ndarray, " n"] = self.inside[z, y, x]
        return inside

    def meets(self, box: Corners, shape: Triple) -> bool:
        """Whether a part of a box lies inside, however small. Boxes that cover the volume meet every voxel of the mask.

        Args:
            box: corners in voxels of a grid over the volume.
            shape: number of voxels of that grid.
        """
        return bool(self.inside[self._shared(box, shape)].any())

    def nearest(
        self, point: Float64[np.ndarray, " 3"], box: Corners, shape: Triple
    ) -> Float64[np.ndarray, " 3"]:
        """The point inside of the mask that is nearest to a point, among those of a box.

        Args:
            point: (z, y, x) in the box, in voxels of a grid over the volume; integers are voxel borders.
            box: corners in voxels of that grid. The mask meets it.
            shape: number of voxels of that grid.
        """
        shared = self._shared(box, shape)
        first = np.argwhere(self.inside[shared]) + [one.start for one in shared]
        size = np.array(shape) / self.inside.shape  # of a voxel of the mask
        points: Float64[np.ndarray, "n 3"] = np.clip(point, first * size, (first + 1) * size)
        closest: Float64[np.ndarray, " 3"] = points[np.square(points - point).sum(axis=1).argmin()]
        return closest

    def voxels(self, box: Corners, shape: Triple) -> Bool[np.ndarray, "d h w"]:
        """Which voxels of a box lie inside.

        Args:
            box: corners in voxels of a grid over the volume.
            shape: number of voxels of that grid.
        """
        axes = [
            self._places(np.arange(start, stop), shape[axis], axis)
            for axis, (start, stop) in enumerate(zip(*box, strict=True))
        ]
        inside: Bool[np.ndarray, "d h w"] = self.inside[np.ix_(*axes)]
        return inside

    def _shared(self, box: Corners, shape: Triple) -> tuple[slice, slice, slice]:
        """The voxels of the mask that share space with a box."""
        z, y, x = (
            slice(start * own // size, -(-min(stop, size) * own // size))
            for start, stop, own, size in zip(*box, self.inside.shape, shape, strict=True)
        )
        return z, y, x

    def _places(self, voxels: Shaped[np.ndarray, " n"], size: int, axis: int) -> Int64[np.ndarray, " n"]:
        """The voxels of the mask at those of a grid."""
        own = self.inside.shape[axis]
        places = np.floor((voxels.astype(np.float64) + 0.5) * own / size).astype(np.int64)
        clipped: Int64[np.ndarray, " n"] = places.clip(0, own - 1)
        return clipped
