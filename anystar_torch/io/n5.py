"""N5 arrays, which are only read: a folder of blocks whose dimensions are stored x first."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anystar_torch.io import bigdataviewer
from anystar_torch.io.n5_array import ATTRIBUTES, N5Array, attributes_of
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.stored import StoredImage

_MOST_NAMED = 5  # arrays that a message lists
_SETUP, _TIME = re.compile(r"setup([0-9]+)"), re.compile(r"timepoint([0-9]+)")  # BigDataViewer's groups


def is_n5(path: Path) -> bool:
    """Whether a folder is an N5 container, or an array or a group in one.

    Args:
        path: of a folder; a file gives False. A container without attributes is known by its ending ``.n5``.
    """
    return path.is_dir() and (path.suffix.lower() == ".n5" or (path / ATTRIBUTES).is_file())


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open an array, the only array of a container, or the volumes of BigDataViewer.

    Args:
        path: the folder of the container or of an array in it.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the array is broken, or which of several arrays is meant is unknown.
    """
    with readable(path, "N5"):
        setups = _numbered(path, _SETUP)
        if setups and "dimensions" not in attributes_of(path):
            yield _bigdataviewer(path, setups)
            return
        array = N5Array(_array_in(path))
        check_size(array.block, array.dtype, str(path))
        sizes, units = _sizes(array.attributes, len(array.shape))
        names = array.attributes.get("axes") or [""] * len(array.shape)
        yield StoredImage(
            array=array,
            dtype=array.dtype,
            axes=tuple(map(str, names[::-1])),
            sizes=sizes,
            units=units,
            blocks=tuple(array.block),
        )


def record_text(path: Path) -> str | None:
    """None: nothing is written as N5.

    Args:
        path: not used.
    """
    return None


def _numbered(path: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The folders in a folder whose names are a word and a number, by the number."""
    found = {pattern.fullmatch(inner.name): inner for inner in path.iterdir()} if path.is_dir() else {}
    return dict(sorted((int(match[1]), inner) for match, inner in found.items() if match and inner.is_dir()))


def _bigdataviewer(path: Path, setups: dict[int, Path]) -> StoredImage:
    """All time points and setups at full resolution, as axes t and c.

    Raises:
        ValueError: a volume is missing, or the setups differ in size.
    """
    times = sorted({time for setup in setups.values() for time in _numbered(setup, _TIME)})
    names = [
        [
            str(_numbered(setup, _TIME).get(time, setup / f"timepoint{time}") / "s0")
            for setup in setups.values()
        ]
        for time in times
    ]
    missing = [name for row in names for name in row if "dimensions" not in attributes_of(Path(name))]
    if missing or not names:
        raise ValueError(f"{path} holds no volume {missing[0] if missing else 'setup0/timepoint0/s0'}")
    volumes = {name: N5Array(Path(name)) for row in names for name in row}
    for volume in volumes.values():
        check_size(volume.block, volume.dtype, str(path))
    return bigdataviewer.joined(volumes, names, volumes[names[0][0]].dtype, path, list(setups))


def _array_in(path: Path) -> Path:
    """The folder of the only array at full resolution in a folder."""
    found = list(_arrays(path))
    if found == [path]:
        return path
    full = [inner for inner in found if not re.fullmatch(r"s[0-9]+", inner.name) or inner.name == "s0"]
    if len(full) != 1:
        listed = ", ".join(str(inner.relative_to(path)) for inner in full[:_MOST_NAMED])
        example = f"; give one of them, as in {full[0]}" if full else ""
        raise ValueError(f"{path} holds {len(full)} arrays ({listed}){example}")
    return full[0]


def _arrays(path: Path) -> Iterator[Path]:
    """The arrays in a folder; their own folders, which hold blocks, are not searched."""
    if "dimensions" in attributes_of(path):
        yield path
        return
    for inner in sorted(path.iterdir()):
        if inner.is_dir():
            yield from _arrays(inner)


def _sizes(attributes: dict[str, Any], dimensions: int) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and units by axis, from "resolution" and "units" or from "pixelResolution"; x is first there."""
    given, units = attributes.get("resolution"), attributes.get("units")
    pixel = attributes.get("pixelResolution")
    if pixel is not None:
        given = pixel["dimensions"] if isinstance(pixel, dict) else pixel
        units = [pixel.get("unit")] * dimensions if isinstance(pixel, dict) else None
    names = [str(name).lower() for name in attributes.get("axes") or "xyz"]
    if not isinstance(given, list) or len(given) != dimensions or len(names) != dimensions:
        return {}, {}
    known = units if isinstance(units, list) and len(units) == dimensions else [None] * dimensions
    return dict(zip(names, given, strict=True)), dict(zip(names, known, strict=True))
