"""One volume as it came from a file, and the rules every format shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.system.memory import available_memory

_MICROMETRES = {
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "\\u00b5m": 1.0, "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3, "mm": 1e3, "millimeter": 1e3,
    "millimetre": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6, "metre": 1e6, "å": 1e-4,
}  # fmt: skip


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


def micrometres(unit: str | None) -> float | None:
    """How many micrometres one ``unit`` is; None where it is no length ("pixel", "", ...)."""
    return _MICROMETRES.get((unit or "").strip().lower())


def checked_spacing(
    spacing: tuple[Any, ...], *units: str | None
) -> tuple[tuple[float, float, float] | None, str]:
    """Spacing (z, y, x), in micrometres where the unit is a length; None where a number makes no sense.

    ``units`` is one for all three axes or one for each; lengths along some of them only are no spacing.
    """
    values = [float(value) for value in spacing if value is not None]
    if len(values) != 3 or not all(np.isfinite(value) and value > 0 for value in values):
        return None, ""
    factors = [factor for factor in map(micrometres, units) if factor is not None]
    if len(factors) not in (0, len(units)):
        return None, ""
    scale = (factors or [1.0]) * (1 if len(factors) == 3 else 3)
    return (values[0] * scale[0], values[1] * scale[1], values[2] * scale[2]), "um" if factors else ""


def to_zyx(
    array: Any, axes: str, *, channel: int | None = None, frame: int | None = None, where: str = "the volume"
) -> Any:
    """The one ZYX volume of an array with other axes; indexes lazily, so that only that volume is read.

    Args:
        array: anything that can be indexed and has a shape.
        axes: one letter per dimension: Z, Y, X, C or S (channel), T (time).
        channel: which channel, where there are several.
        frame: which time point, where there are several.
        where: what to call the volume in errors.

    Raises:
        ValueError: the array is no single volume, and how to choose one.
    """
    chosen: list[Any] = []
    kept = ""
    for axis, size in zip(axes, array.shape, strict=True):
        pick = {"C": channel, "S": channel, "T": frame}.get(axis)
        word = {"C": "channel", "S": "channel", "T": "frame"}.get(axis)
        if word is None:
            chosen.append(slice(None))
            kept += axis
        elif pick is not None:
            if not 0 <= pick < size:
                raise ValueError(f"{where} has {size} {word}s, got --{word} {pick}; choose 0 to {size - 1}")
            chosen.append(pick)
        elif size == 1:
            chosen.append(0)
        else:
            raise ValueError(f"{where} has {size} {word}s; choose one with --{word} (0 to {size - 1})")
    if sorted(kept) != ["X", "Y", "Z"]:
        raise ValueError(not_a_volume(where, tuple(array.shape), axes))
    volume = array[tuple(chosen)] if len(kept) < len(axes) else array
    return volume if kept == "ZYX" else volume.transpose([kept.index(axis) for axis in "ZYX"])


def not_a_volume(where: str, shape: tuple[int, ...], axes: str = "") -> str:
    """The line for what is no 3D volume."""
    kind = (
        "a 2D image" if len([axis for axis in axes if axis in "YX"]) == len(shape) == 2 else f"{len(shape)}D"
    )
    size = " x ".join(map(str, shape))
    named = f", axes {axes}" if axes else ""
    return f"{where} is {kind} ({size}{named}); a volume with axes Z, Y, X is wanted"


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
