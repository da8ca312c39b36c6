"""What the readers of all formats share: a check of the size, and errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from anystar_torch.system.errors import last_line
from anystar_torch.system.memory import available_memory


def check_size(shape: tuple[int, ...], dtype: Any, where: str, axes: str = "") -> None:
    """Refuse a volume that does not fit into free memory, before memory for it is allocated.

    Args:
        shape: as the header declares it.
        dtype: number type of the voxels.
        where: name of the volume in errors.
        axes: one letter per dimension; only Z, Y and X count then, because one volume is read.

    Raises:
        ValueError: the volume is empty or larger than free memory.
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
            "crop it, or check that the file is complete"
        )


@contextmanager
def readable(path: Path | str, kind: str) -> Iterator[None]:
    """Turn every error of a format's reader into a ValueError of one line.

    Args:
        path: the file that is read, or its URL.
        kind: name of the format.

    Raises:
        ValueError: names the file and the reason.
    """
    try:
        yield
    except PermissionError as error:
        raise ValueError(f"{path} may not be read: permission denied") from error
    except MemoryError as error:
        raise ValueError(f"{path} does not fit into memory") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read as {kind}: {last_line(error)}") from error
    except Exception as error:  # readers raise struct.error, KeyError, zlib.error, ... on broken files
        raise ValueError(f"{path} cannot be read as {kind}: {last_line(error)}") from error
