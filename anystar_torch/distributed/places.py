"""Where a large prediction reads and writes, and what it may remove."""

import glob
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.io import Inside, Location, is_url
from anystar_torch.io.label_target import is_finished, is_unfinished, temporary_place
from anystar_torch.io.location import checked, writable

SETTINGS = "settings.json"
"""File of a work folder: the settings of the run."""

MODEL = "model"
"""Folder of a work folder: the network."""

TABLE = "table.json"
"""File of a work folder: the name of the table that the run began to write."""

MASK = "mask.npy"
"""File of a work folder: where objects may be."""

_TARGET = "target.json"  # where the labels are written of which tasks note that they are
_COMPLETE = "complete.json"  # all labels are written, and get their name next

# All that a work folder holds.
_OWN = re.compile(
    rf"{MODEL}|frame-\d+|{SETTINGS}|{TABLE}|(\.\w{{8}}\.)?{MASK}|{_TARGET}|{_COMPLETE}|\..*\.part"
)


def labels_at(target: Location | Inside) -> Location:
    """Path or URL of the labels.

    Args:
        target: of the labels, or the image that they are written into.
    """
    return target.target if isinstance(target, Inside) else target


def work_folder(target: Location | Inside, work: Path | str | None) -> Path:
    """The folder for results of tasks: ``NAME.work``, beside the labels or in a given folder.

    Args:
        target: of the labels.
        work: the folder that it lies in; None for that of the labels.

    Raises:
        ValueError: the labels are at a URL, and no folder was given.
    """
    place = labels_at(target)
    if work is None and is_url(place):
        raise ValueError(f"labels at {place} need a work folder that all workers see: give work")
    name = (
        f"{str(place).rstrip('/').rpartition('/')[2] if is_url(place) else Path(place).absolute().name}.work"
    )
    return (Path(place).absolute().parent if work is None else Path(work).absolute()) / name


def file_of(source: Any) -> Path | None:
    """The file or folder on the disk that an array of Zarr, h5py or NumPy reads; None for others.

    Args:
        source: the array.
    """
    root = getattr(getattr(source, "store", None), "root", None)
    if isinstance(root, Path):  # of Zarr
        return Path(root.absolute(), source.path)
    name = getattr(getattr(source, "file", source), "filename", None)  # of h5py; of a memory map
    return None if name is None else Path(name).absolute()


def check_work_folder(place: Path) -> None:
    """Refuse a work folder in which anything is that no prediction wrote.

    Args:
        place: the work folder.

    Raises:
        ValueError: names what it holds.
    """
    if not place.exists():
        return
    other = (
        [one.name for one in place.iterdir() if not _OWN.fullmatch(one.name)]
        if place.is_dir()
        else [place.name]
    )
    if other:
        raise ValueError(
            f"{place} is used for results of tasks and holds something else ({min(other)}); move it away"
        )


def discard(place: Path) -> None:
    """Remove a work folder. It gets another name first, so that a part of it is never taken for the work of a run.

    Args:
        place: the work folder.

    Raises:
        ValueError: it holds something that no prediction wrote.
    """
    check_work_folder(place)
    if place.exists():
        place.rename(place.with_name(f"{_discarded(place)}.{uuid4().hex[:8]}.removed"))
    remove_discarded(place)


def remove_discarded(place: Path) -> None:
    """Remove what :func:`discard` has renamed, also in a run that was killed before it was removed.

    Args:
        place: the work folder.
    """
    for one in place.parent.glob(f"{glob.escape(_discarded(place))}.????????.removed"):
        shutil.rmtree(one, ignore_errors=True)


def _discarded(place: Path) -> str:
    """Begin of the name that a work folder gets before it is removed."""
    return f".{place.name[:100]}"  # file systems limit the length of a name


def note_complete(place: Path) -> None:
    """Note that all labels are written, before they get their name.

    Args:
        place: the work folder.
    """
    WorkFolder(place).note(_COMPLETE, True)


def is_left(place: Path, target: Location | Inside) -> bool:
    """Whether the labels of a work folder are finished: its run was killed before it removed the folder.

    Args:
        place: the work folder.
        target: of the labels.
    """
    if WorkFolder(place).noted(_COMPLETE) is None or is_other_target(place, target):
        return False
    labels = checked(labels_at(target))
    unfinished = temporary_place(labels)
    with writable(labels):
        return is_finished(labels) and (unfinished == labels or not is_unfinished(unfinished))


def is_other_target(place: Path, target: Location | Inside) -> bool:
    """Whether the labels of which tasks note that they are written lie at another place.

    Args:
        place: the work folder.
        target: of the labels.
    """
    return WorkFolder(place).noted(_TARGET) not in (None, _name_of(target))


def note_target(place: Path, target: Location | Inside) -> None:
    """Note where the labels are written of which tasks note that they are.

    Args:
        place: the work folder.
        target: of the labels.
    """
    WorkFolder(place).note(_TARGET, _name_of(target))


def _name_of(target: Location | Inside) -> str:
    """The URL of the labels, or their path from the root."""
    labels = labels_at(target)
    return str(labels if is_url(labels) else Path(labels).absolute())


def may_replace_table(place: Path, table: Path) -> bool:
    """Whether the run that is continued began to write this table.

    Args:
        place: the work folder.
        table: file of the table.
    """
    return bool(WorkFolder(place).noted(TABLE) == str(table.absolute()))


def note_table(place: Path, table: Path) -> None:
    """Note, before it is written, that a table is that of this run.

    Args:
        place: the work folder.
        table: file of the table.
    """
    WorkFolder(place).note(TABLE, str(table.absolute()))
