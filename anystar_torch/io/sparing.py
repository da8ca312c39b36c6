"""Results never replace what is read, one another, or a folder with other content."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from anystar_torch.io.formats import container, is_volume
from anystar_torch.io.location import Location, is_url


def spare(inputs: Iterable[Location], outputs: Iterable[Location]) -> None:
    """Refuse results that would replace an input or a part of it, or one another.

    Args:
        inputs: files, folders and URLs that are read.
        outputs: those that are written or removed.

    Raises:
        ValueError: names the result and what it would replace.
    """
    read = {_resolved(one): one for one in inputs}
    seen: list[str] = []
    for one in outputs:
        place = _resolved(one)
        if any(_holds(place, other) or _holds(other, place) for other in seen):
            raise ValueError(f"two results would be written to {one}; give one of them another name")
        seen.append(place)
        for other, name in read.items():
            part = other.endswith(".zarr") and _holds(other, place) and not _holds(f"{other}/labels", place)
            if _holds(place, other) or part:
                raise ValueError(f"{one} would replace the input {name}; choose another name")


def check_folder(path: Path, is_earlier: Callable[[Path], bool] = is_volume) -> None:
    """Refuse to replace a folder that is no earlier result.

    Args:
        path: file or folder to write.
        is_earlier: whether an existing folder may be an earlier result.

    Raises:
        ValueError: ``path`` is a folder with other content.
    """
    if path.is_dir() and not is_earlier(path):
        raise ValueError(f"cannot write {path}: it is a folder with other content; choose another name")


def holds(folder: Location, place: Location) -> bool:
    """Whether a place is a folder, or lies in it.

    Args:
        folder: path or URL; it may be a file.
        place: path or URL.
    """
    return _holds(_resolved(folder), _resolved(place))


def _holds(folder: str, place: str) -> bool:
    """Whether a place is a folder, or lies in it. Both are paths or URLs of :func:`_resolved`."""
    folder = folder.rstrip("/")
    start = "/".join(place.split("/")[: folder.count("/") + 1])
    return start == folder or (_folded(start) == _folded(folder) and _same_file(start, folder))


def _folded(place: str) -> str:
    """A path in which upper and lower case are alike, as they are for file systems of macOS and Windows."""
    return unicodedata.normalize("NFC", place).casefold()


def _same_file(one: str, other: str) -> bool:
    """Whether two different paths are one file or folder, as the file system sees it."""
    try:
        return Path(one).samefile(other)
    except OSError:  # one is not there
        return False


def _resolved(location: Location) -> str:
    """A path from the root, or a URL, with "/" between its parts."""
    return str(location).rstrip("/") if is_url(location) else container(Path(location)).resolve().as_posix()
