"""Files that are there whole or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from anystar_torch.io.scan import first_line

_TRIES = 40


@contextmanager
def atomic_write(path: Path | str, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path to write to, in the folder of ``path``; renamed to ``path`` when the block ends well.

    The temporary name keeps the suffix, by which libraries choose the format, in lower case, which all of them
    know. Whatever ends the block otherwise, an interrupt included, the temporary file (or folder) is removed
    and ``path`` is as it was.

    Raises:
        ValueError: the folder is missing or not writable, the disk is full, or ``path`` exists and may not be
            replaced.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists; give --overwrite to replace it, or another name with -o")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{uuid4().hex[:8]}.{path.name}").with_suffix(path.suffix.lower())
    try:
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise ValueError(f"cannot write {path}: {reason}") from error
    finally:
        _remove(temporary)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; a folder (Zarr) cannot replace one that holds something, so the old one steps aside first."""
    if path.is_dir() and temporary.is_dir():
        aside = path.with_name(f"{temporary.name}.old")
        os.replace(path, aside)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(aside, path)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(temporary, path)


def _remove(temporary: Path) -> None:
    """Remove what a failed writer left; again where its threads (Zarr's) are still at it and make it anew."""
    for _ in range(_TRIES):
        if not temporary.exists():
            return
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
            return
        time.sleep(0.05)
