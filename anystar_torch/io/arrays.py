"""NumPy files (.npy, .npz). They have no spacing; the run record is written to a JSON file beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped

from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord, is_record
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a file with one array, whose axes have no names.

    Args:
        path: the file; an archive (.npz) must hold one array.

    Yields:
        The array.

    Raises:
        ValueError: the file is broken, or an archive of several arrays.
    """
    with readable(path, "NumPy"):
        archive = path.suffix.lower() == ".npz"
        array = _archived(path) if archive else np.load(path, mmap_mode="r", allow_pickle=False)
        yield StoredImage(array=array, dtype=array.dtype, axes=("",) * array.ndim)


def _archived(path: Path) -> Shaped[np.ndarray, "..."]:
    """The only array of an archive."""
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        if len(file.files) != 1:
            raise ValueError(f"{path} holds {len(file.files)} arrays ({', '.join(file.files)}); expected one")
        check_size((file.zip.infolist()[0].file_size,), np.uint8, str(path))  # the whole array is read
        array: Shaped[np.ndarray, "..."] = file[file.files[0]]
    return array


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as .npy, or as .npz under the name "labels".

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: not used: the format has no place for spacing.
        record: not used: see :func:`write_sidecar`.
    """
    if path.suffix == ".npz":
        np.savez_compressed(path, labels=labels)
    else:
        np.save(path, labels)


def sidecar(path: Path) -> Path:
    """The JSON file with the run record of a NumPy file.

    Args:
        path: of the NumPy file.
    """
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, record: RunRecord | None) -> None:
    """Write the record of the labels in ``path`` to its JSON file; None removes that of earlier labels.

    Args:
        path: of the NumPy file.
        record: what made the labels; None removes the run record of earlier labels.
    """
    if record is None:
        if record_text(path) is not None:
            sidecar(path).unlink()
        return
    with atomic_write(sidecar(path)) as temporary:
        temporary.write_text(record.to_json(indent=2) + "\n", encoding="utf-8")


def check_sidecar(path: Path) -> None:
    """Refuse labels whose run record would replace a JSON file of another program.

    Args:
        path: of the NumPy file.

    Raises:
        ValueError: the JSON file is there, and is no run record.
    """
    if sidecar(path).exists() and record_text(path) is None:
        raise ValueError(
            f"cannot write {path}: its run record would replace {sidecar(path)}, which is none; choose another name"
        )


def record_text(path: Path) -> str | None:
    """The text of the run record; None where there is none, or a JSON file of another program.

    Args:
        path: of the NumPy file.
    """
    if not sidecar(path).is_file():
        return None
    text = sidecar(path).read_text(encoding="utf-8", errors="replace")
    return text if is_record(text) else None
