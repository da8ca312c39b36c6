"""Where labels are written until they are finished, and what may be replaced."""

from pathlib import Path

from anystar_torch.io import label_list
from anystar_torch.io.atomic import check_target
from anystar_torch.io.label_list import Inside
from anystar_torch.io.location import Files, Location

UNFINISHED = "anystar-unfinished.json"
"""File that says what is being written, for the run that continues it."""

_KEPT = 200  # letters of a name that its temporary name keeps; a name has at most 255


def is_unfinished(path: Location) -> bool:
    """Whether labels are written to a place at this time, or a run that wrote them was interrupted.

    Args:
        path: folder or URL.
    """
    return Files(path).read(UNFINISHED) is not None


def temporary_place(target: Location) -> Location:
    """Where labels are written until they are finished: beside the target, or at it where nothing can be renamed.

    Args:
        target: folder or URL of the finished labels.
    """
    return target.with_name(f".{target.name[-_KEPT:]}.partial") if isinstance(target, Path) else target


def discard(place: Location) -> None:
    """Remove unfinished labels; anything else stays.

    Args:
        place: where they are.
    """
    if is_unfinished(place):
        Files(place).remove()


def refuse(target: Location, listed: Inside | None, overwrite: bool) -> bool:
    """Refuse a target that cannot or must not be written; whether there are finished labels.

    Args:
        target: folder or URL of the finished labels.
        listed: the image that the labels lie in; None where they lie elsewhere.
        overwrite: whether finished labels may be replaced.

    Raises:
        ValueError: finished labels are there and may not be replaced, or something else is, or nothing can be written.
    """
    finished = is_finished(target)
    if listed is not None:
        version, _ = listed.described()
    if finished:  # a run may have been killed after it renamed its labels and before it listed them
        Files(target).remove(UNFINISHED)
        if listed is not None:
            label_list.add(listed, version)
        if not overwrite:
            raise ValueError(f"{target} exists; overwrite it or choose another name")
    if isinstance(target, Path):
        if target.exists() and not finished:
            raise ValueError(f"cannot write {target}: it has other content; choose another name")
        if listed is not None:
            target.parent.mkdir(exist_ok=True)
        check_target(target, overwrite)
    return finished


def is_finished(target: Location) -> bool:
    """Whether there is a Zarr group or array.

    Args:
        target: folder or URL.
    """
    files = Files(target)
    return any(files.read(name) is not None for name in ("zarr.json", ".zgroup", ".zarray"))
