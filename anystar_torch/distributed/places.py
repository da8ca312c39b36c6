"""Where a large prediction reads and writes, and what it may remove."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.io import Inside, Location, container, is_url

SETTINGS = "settings.json"
MODEL = "model"
TABLE = "table.json"
"""Names in a work folder: the settings of the run, the network, and the table that it began to write."""

_OWN = re.compile(rf"{MODEL}|frame-\d+|{SETTINGS}|{TABLE}|\..*\.part")  # all that a work folder holds


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


def spare(inputs: Iterable[Location], outputs: Iterable[Location]) -> None:
    """Refuse results that would replace an input or one another.

    Args:
        inputs: files, folders and URLs that are read.
        outputs: those that are written or removed.

    Raises:
        ValueError: names the result and what it would replace.
    """
    read = {_resolved(one): one for one in inputs}
    seen: set[str] = set()
    for one in outputs:
        place = _resolved(one)
        if place in seen:
            raise ValueError(f"two results would be written to {one}; give one of them another name")
        seen.add(place)
        for other, name in read.items():
            if other == place or other.startswith(f"{place.rstrip('/')}/"):
                raise ValueError(f"{one} would replace the input {name}; choose another name")


def _resolved(location: Location) -> str:
    return str(location).rstrip("/") if is_url(location) else str(container(Path(location)).resolve())


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
        place.rename(place.with_name(f".{place.name}.{uuid4().hex}.removed"))
    for one in place.parent.glob(f".{place.name}.*.removed"):
        shutil.rmtree(one, ignore_errors=True)


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
