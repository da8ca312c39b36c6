"""One volume as it came from a file, and the rules every format shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.system.memory import available_memory


@dataclass(frozen=True)
class Scan:
    """A volume and where it lies.

    Attributes:
        array: ``[D, H, W]`` (z, y, x), of the file's own type.
        spacing: voxel size (z, y, x), positive; None where the file does not say.
        unit: "um" where ``spacing`` is in micrometres, "" where only its ratios mean something.
        path: the file, None for an array that came from nowhere.
        geometry: what only the format itself understands of how labels are written (header, style).
        affine: 4x4, from voxel index (x, y, z) to millimetres right, anterior, superior (RAS), by which formats
            put labels at the same place; None where the file has no place in space.
    """

    array: NDArray[Any]
    spacing: tuple[float, float, float] | None = None
    unit: str = ""
    path: Path | None = None
    geometry: Any = None
    affine: NDArray[Any] | None = None


def check_size(shape: tuple[int, ...], dtype: Any, where: str, axes: str = "") -> None:
    """Refuse what a header declares and no memory holds, before anything is allocated.

    Where ``axes`` names those of ``shape``, one volume is read: only Z, Y and X count.
    """
    if any(size <= 0 for size in shape):
        raise ValueError(f"{where} holds no voxels: its shape is {shape}")
    voxels = 1
    for size, axis in zip(shape, axes or "Z" * len(shape), strict=True):
        voxels *= int(size) if axis in "ZYX" else 1
    needed, free = voxels * np.dtype(dtype).itemsize, available_memory()
    if needed > free:
        raise ValueError(
            f"{where} declares {needed / 1e9:.1f} GB of voxels and {free / 1e9:.1f} GB of memory are free; "
            "crop it, or check that the file is whole"
        )


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a format's reader raises into one ValueError that names the file and the reason."""
    try:
        yield
    except PermissionError as error:
        raise ValueError(f"{path} may not be read: permission denied") from error
    except MemoryError as error:
        raise ValueError(f"{path} does not fit into memory") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read as {kind}: {first_line(error)}") from error
    except Exception as error:  # readers raise struct.error, KeyError, zlib.error, ... on broken files
        raise ValueError(f"{path} cannot be read as {kind}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The one line of an error that a person wants; its class name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
