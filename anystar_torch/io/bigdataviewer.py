"""BigDataViewer's layout: volumes by time point and setup, in HDF5 or N5, with an XML file beside them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.stored import StoredImage

_TIME, _SETUP = re.compile(r"t([0-9]{5,})"), re.compile(r"s([0-9]{2,})")


def is_bigdataviewer(file: Any) -> bool:
    """Whether an open HDF5 file has BigDataViewer's groups.

    Args:
        file: an HDF5 file that h5py opened.
    """
    return "__DATA_TYPES__" in file or any(
        _TIME.fullmatch(name) and any(_SETUP.fullmatch(inner) for inner in file[name]) for name in file
    )


def image(file: Any, path: Path) -> StoredImage:
    """All time points and setups of an HDF5 file at full resolution, as axes t and c.

    Args:
        file: the open file.
        path: its name; the XML file beside it has the voxel size.

    Raises:
        ValueError: a volume is missing, or the setups differ in size.
    """
    times = sorted(name for name in file if _TIME.fullmatch(name))
    setups = sorted({name for time in times for name in file[time] if _SETUP.fullmatch(name)})
    names = [[f"{time}/{setup}/0/cells" for setup in setups] for time in times]
    missing = [name for row in names for name in row if name not in file]
    if missing or not names:
        raise ValueError(f"{path} holds no volume {missing[0] if missing else 't00000/s00/0/cells'}")
    volumes = {f"{path}:/{name}": file[name] for row in names for name in row}
    names = [[f"{path}:/{name}" for name in row] for row in names]
    # The HDF5 layout keeps unsigned integers of 16 bits in HDF5's signed type.
    first = np.dtype(volumes[names[0][0]].dtype)
    dtype = np.dtype(np.uint16) if first.kind == "i" and first.itemsize == 2 else first
    return joined(volumes, names, dtype, path, [int(setup[1:]) for setup in setups])


def joined(
    volumes: dict[str, Any], names: list[list[str]], dtype: np.dtype[Any], path: Path, setups: list[int]
) -> StoredImage:
    """Volumes ``[Z, Y, X]`` by time point and setup as one image.

    Args:
        volumes: arrays by the names that a user can give.
        names: of the volume of every time point and setup.
        dtype: number type that the voxels are, of the size of that which they are stored in.
        path: of the file; the XML file beside it has the voxel size.
        setups: numbers of the setups in that XML file.

    Raises:
        ValueError: the volumes differ in size or number type.
    """
    first = volumes[names[0][0]]
    for name, volume in volumes.items():
        if volume.shape != first.shape or volume.dtype != first.dtype:
            raise ValueError(
                f"{path} holds volumes that differ: {name} is {volume.shape} {volume.dtype}, and {names[0][0]} "
                f"{first.shape} {first.dtype}; give the name of one of them"
            )
    sizes, unit = _voxel_size(path.with_suffix(".xml"), setups)
    return StoredImage(
        array=_Joined(lambda t, c: volumes[names[t][c]], (len(names), len(names[0]), *first.shape), dtype),
        dtype=dtype,
        axes=("t", "c", "z", "y", "x"),
        sizes=sizes,
        units=dict.fromkeys(sizes, unit),
    )


class _Joined:
    """Volumes by time point and setup; those are read that an index names."""

    def __init__(
        self, volume: Callable[[int, int], Any], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._volume, self.shape, self._dtype = volume, shape, dtype

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        times, setups = (np.arange(size)[one] for size, one in zip(self.shape, index[:2], strict=False))
        if np.ndim(times) or np.ndim(setups):
            raise ValueError("one time point and one setup can be read at once")
        read = np.asarray(self._volume(int(times), int(setups))[tuple(index[2:])])
        if read.dtype == self._dtype:
            return read
        cast: Shaped[np.ndarray, "..."] = read.view(self._dtype.newbyteorder(read.dtype.byteorder))
        return cast


def _voxel_size(path: Path, setups: list[int]) -> tuple[dict[str, float], str | None]:
    """Voxel size by axis and its unit, from BigDataViewer's XML file; none where it is absent or setups differ."""
    if not path.is_file():
        return {}, None
    found = set()
    for setup in ElementTree.parse(path).getroot().iter("ViewSetup"):
        size = setup.findtext("voxelSize/size")
        if int(setup.findtext("id") or -1) in setups and size:
            found.add((size.strip(), (setup.findtext("voxelSize/unit") or "").strip()))
    if len(found) != 1:
        return {}, None
    size, unit = found.pop()
    return dict(zip("xyz", map(float, size.split()), strict=True)), unit
