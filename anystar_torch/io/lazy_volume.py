"""A volume of any size that is read box by box."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from anystar_torch.io import files, formats, zarrs
from anystar_torch.io.axes import Box, affine_of, decide, picks, select, spacing_of
from anystar_torch.io.location import Location, checked
from anystar_torch.io.placement import Placement
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import Spacing, checked_spacing


@dataclass(frozen=True)
class Choice:
    """Which volume of a file is meant.

    Attributes:
        path: file, folder or URL.
        channel: index of the channel, where the file has several.
        frame: index of the time point, where the file has several.
        axes: one letter of Z, Y, X, C and T per dimension; None for the names in the file.
        spacing: voxel size (z, y, x) in micrometres at level 0; None for that of the file.
        scene: name or number of the scene, where the file has several.
        level: of a pyramid; 0 is the finest.
    """

    path: Location
    channel: int | None = None
    frame: int | None = None
    axes: str | None = None
    spacing: Spacing | None = None
    scene: str | None = None
    level: int = 0


class LazyVolume:
    """A volume ``[D, H, W]`` of which only those boxes are read that an index names.

    It can be pickled: every process opens the file itself, when it reads for the first time. Several threads may read
    at once.

    Attributes:
        choice: which volume of the file it is.
        shape: number of voxels, (z, y, x).
        dtype: number type of the voxels.
        spacing: voxel size (z, y, x) of this level; None where the file has none.
        unit: "um" where ``spacing`` is in micrometres, "" where only its ratios are known.
        affine: maps a voxel index (x, y, z) to millimetres right, anterior, superior; None where there is none.
        placement: voxel size, units and place in the words of OME-Zarr.
        geometry: what the format needs to write labels in the same style.
        frames: number of time points in the file.
        channels: number of channels in the file.
        channel_names: names of the channels in the file; "" for a channel without a name.
        levels: number of resolution levels.
        blocks: voxels (z, y, x) that are read at once at least; None where any part can be read.
        group: path or URL of the OME-Zarr group of the image; None for other formats.
        whole: whether reading any part reads the whole volume.
    """

    ndim = 3

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._lock, self._open = threading.RLock(), ExitStack()
        self._stored: StoredImage | None = None
        try:
            self._describe(choice)
        except BaseException:
            self.close()
            raise

    def _describe(self, choice: Choice) -> None:
        """Open the file and take what it says of the volume."""
        stored = self._opened()
        where, self._letters = str(choice.path), _letters(stored, choice)
        picks(
            self._letters, stored.shape, channel=choice.channel, frame=choice.frame, where=where
        )  # refuses indices that are missing or out of range
        if stored.whole:
            check_size(stored.shape, stored.dtype, where)
        size = dict(zip(self._letters, stored.shape, strict=True))
        self.shape = (size["Z"], size["Y"], size["X"])
        self.dtype = stored.dtype
        self.frames, self.channels, self.levels = size.get("T", 1), size.get("C", 1), stored.levels
        names = stored.channel_names
        self.channel_names = names if len(names) == self.channels else ("",) * self.channels
        self.group, self.geometry, self.whole = stored.group, stored.style, stored.whole
        block = dict(zip(self._letters, stored.blocks or (), strict=stored.blocks is not None))
        self.blocks = (block["Z"], block["Y"], block["X"]) if block else None
        self.spacing, self.unit, self.affine = _placed(stored, self._letters, choice)
        self.placement = Placement.of(self.spacing, self.unit, stored.style, self.affine)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, box: Any) -> Shaped[np.ndarray, "d h w"]:
        """The voxels of a box: three slices without steps along (z, y, x), or ``...`` for all of them."""
        return self.part(box, self.choice.frame, self.choice.channel)

    def part(self, box: Any, frame: int | None, channel: int | None) -> Shaped[np.ndarray, "d h w"]:
        """The voxels of a box at any time point and in any channel of the file.

        Args:
            box: three slices without steps along (z, y, x), or ``...`` for all voxels.
            frame: index of the time point; None where the file has one.
            channel: index of the channel; None where the file has one.

        Raises:
            ValueError: an index is missing, or out of range.
        """
        slices = _checked_box(box, self.shape)
        extent = tuple(one.stop - one.start for one in slices)
        if 0 in extent:
            return np.empty(extent, self.dtype)
        choice, stored = self.choice, self._opened()
        alone = nullcontext() if _is_zarr(choice) else self._lock  # Zarr reads in several threads at once
        with alone, readable(choice.path, "a volume"):
            return select(
                stored.array,
                self._letters,
                channel=channel,
                frame=frame,
                where=str(choice.path),
                box=slices,
            )

    def at(self, *, frame: int | None = None, level: int | None = None) -> "LazyVolume":
        """The same volume at another time point, or at another resolution level.

        Args:
            frame: index of the time point; None for the same one.
            level: of the pyramid; None for the same one.

        Raises:
            ValueError: there is no such time point or level.
        """
        choice = self.choice
        return LazyVolume(
            replace(
                choice,
                frame=choice.frame if frame is None else frame,
                level=choice.level if level is None else level,
            )
        )

    def read(self) -> SpatialImage:
        """The whole volume in memory, as :func:`anystar_torch.io.read` returns it.

        Raises:
            ValueError: it does not fit into free memory.
        """
        check_size(self.shape, self.dtype, str(self.choice.path))
        path = self.choice.path if isinstance(self.choice.path, Path) else None
        return SpatialImage(self[...], self.spacing, self.unit, path, self.geometry, self.affine)

    def close(self) -> None:
        """Close the file; it is opened again when a box is read."""
        with self._lock:
            self._stored = None
            self._open.close()

    def __repr__(self) -> str:
        return f"LazyVolume({str(self.choice.path)!r}, shape={self.shape}, dtype={self.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_open", "_stored")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._open, self._stored = threading.RLock(), ExitStack(), None

    def _opened(self) -> StoredImage:
        """The stored image, opened once in every process."""
        with self._lock:
            if self._stored is None:
                self._stored = self._open.enter_context(_open(self.choice))
            return self._stored


def open_volume(
    path: Location,
    *,
    channel: int | None = None,
    frame: int | None = None,
    axes: str | None = None,
    spacing: Sequence[float | int] | None = None,
    scene: str | None = None,
    level: int = 0,
) -> LazyVolume:
    """Open a volume that is read box by box, whatever its size.

    Zarr, OME-Zarr, N5, HDF5, NumPy (.npy), uncompressed NIfTI and TIFF read only what a box needs: their blocks, or the
    planes of a compressed TIFF. Other formats are read whole at every access.

    Args:
        path: file or folder as for :func:`anystar_torch.io.read`, or the URL of a Zarr (``s3://``, ``https://``).
        channel: index of the channel, where the file has several.
        frame: index of the time point, where the file has several.
        axes: one letter of Z, Y, X, C and T per dimension; None for the names in the file.
        spacing: voxel size (z, y, x) in micrometres at level 0; None for that of the file.
        scene: name or number of the scene (position), where the file has several.
        level: resolution level of an OME-Zarr pyramid; 0 is the finest.

    Returns:
        The volume; it is indexed with three slices along (z, y, x).

    Raises:
        ValueError: the file is missing, broken or not a volume, its voxel size is implausible, a channel or time point
            must be chosen, or there is no such level.
        ImportError: a package for the format or the service is not installed.
    """
    own = None if spacing is None else checked_spacing(spacing)
    return LazyVolume(Choice(checked(path), channel, frame, axes, own, scene, level))


def _open(choice: Choice) -> Any:
    """The context manager that yields the stored image."""
    if _is_zarr(choice):
        return zarrs.opened(choice.path, choice.level)
    path = Path(choice.path)
    if choice.level:
        raise ValueError(f"{path} has one resolution level, got level={choice.level}; choose 0")
    return files.opened(path, choice.scene)


def _is_zarr(choice: Choice) -> bool:
    """Whether the volume is a Zarr.

    Raises:
        ValueError: there is no such file, or its format is unknown.
    """
    return formats.recognise(choice.path) is zarrs


def _letters(stored: StoredImage, choice: Choice) -> str:
    """The meaning of the dimensions.

    Raises:
        ValueError: the voxels are not real numbers, or the dimensions are not those of a volume.
    """
    where = str(choice.path)
    if stored.dtype.kind not in "uifb":
        raise ValueError(f"{where} holds {stored.dtype} voxels; expected one real number per voxel")
    return decide(stored, where, axes=choice.axes, channel=choice.channel, frame=choice.frame)


def _placed(
    stored: StoredImage, letters: str, choice: Choice
) -> tuple[Spacing | None, str, Float[np.ndarray, "4 4"] | None]:
    """Voxel size of the level, its unit, and the affine."""
    affine = affine_of(stored, letters)
    if choice.spacing is None:
        return *spacing_of(stored, letters, str(choice.path)), affine
    coarser = dict(zip(letters, stored.coarser or (1.0,) * len(letters), strict=True))
    z, y, x = (size * coarser[letter] for size, letter in zip(choice.spacing, "ZYX", strict=True))
    return (z, y, x), "um", affine


def _checked_box(box: Any, shape: tuple[int, int, int]) -> Box:
    """Three slices with a begin and an end inside of the volume."""
    slices = (slice(None),) * 3 if box is Ellipsis else box
    if not isinstance(slices, tuple) or len(slices) != 3 or not all(isinstance(s, slice) for s in slices):
        raise TypeError(f"a box must be three slices along (z, y, x), got {box!r}")
    if any(one.step not in (None, 1) for one in slices):
        raise ValueError(f"a box must have no steps, got {box!r}")
    bounds = [one.indices(size)[:2] for one, size in zip(slices, shape, strict=True)]
    z, y, x = (slice(begin, max(begin, end)) for begin, end in bounds)
    return z, y, x
