"""Files that are either written completely or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from anystar_torch.system.errors import last_line

_ATTEMPTS = 40
_PAUSE = 0.05  # seconds
_KEPT = 20  # letters of a name that its temporary name keeps; the longest ending is ".labels.ome.tiff"
_WITH_SIDECAR = (".npy", ".npz")


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a file or folder that cannot be written. Called before long work and before every write.

    A file is created in the folder and removed again, because permissions alone do not tell whether that is possible.

    Args:
        path: file or folder to write.
        overwrite: whether an existing one may be replaced.

    Raises:
        ValueError: ``path`` exists and must not be replaced, its folder does not exist or nothing can be written into
            it, or its name is too long.
    """
    try:
        there = path.exists()
        # NumPy files get a JSON file beside them, whose name is longer.
        path.with_name(f"{path.name}.json" if path.suffix.lower() in _WITH_SIDECAR else path.name).exists()
    except OSError as error:
        raise _unwritable(path, error) from error
    if there and not overwrite:
        raise ValueError(f"{path} exists; overwrite it or choose another name")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    probe = _temporary(path)
    try:
        with open(probe, "xb"):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        probe.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ValueError:
    # NumPy and ITK do not tell the reason of the system
    return ValueError(f"cannot write {path}: {error.strerror or f'{last_line(error)}; is the disk full?'}")


def _temporary(path: Path) -> Path:
    """A new name in the folder of ``path``, which is not longer where that is long, with the same endings."""
    kept = path.name[-_KEPT:]
    return path.with_name(f".{uuid4().hex[:8]}.{kept}").with_suffix(path.suffix.lower())


@contextmanager
def atomic_write(path: Path | str, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to ``path`` when the block ends without an error.

    After an error or an interrupt the temporary file or folder is removed, and ``path`` is unchanged.

    Args:
        path: file or folder to write.
        overwrite: whether an existing one may be replaced.

    Yields:
        A path in the same folder with the same suffix, in lower case, because libraries choose the format by it.

    Raises:
        ValueError: the folder is missing or not writable, the disk is full, or ``path`` must not be replaced.
    """
    path = Path(path)
    check_target(path, overwrite)
    temporary = _temporary(path)
    try:
        yield temporary
        replace_path(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        _remove(temporary)


def replace_path(temporary: Path, path: Path) -> None:
    """Rename a complete file or folder. A folder cannot replace one with content, so the old one is moved first.

    Args:
        temporary: name of the complete file or folder.
        path: its final name; what is there is removed.
    """
    aside = path.with_name(f"{temporary.name}.old")
    if path.is_dir() and temporary.is_dir():
        shutil.rmtree(
            aside, ignore_errors=True
        )  # of a run that was killed, where the name is always the same
        os.replace(path, aside)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(aside, path)
            raise
    else:
        os.replace(temporary, path)
    shutil.rmtree(aside, ignore_errors=True)


def _remove(temporary: Path) -> None:
    """Remove what a failed writer left. A folder is removed again while threads of Zarr still write to it."""
    for _ in range(_ATTEMPTS):
        if not temporary.exists():
            return
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
            return
        time.sleep(_PAUSE)
