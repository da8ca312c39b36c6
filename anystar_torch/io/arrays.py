"""NumPy files. They carry no spacing; what made the labels stands in a JSON file beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size, readable
from anystar_torch.io.stored import StoredImage


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the one array of a file; its axes have no names."""
    with readable(path, "NumPy"):
        if path.suffix.lower() == ".npz":
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                if len(file.files) != 1:
                    raise ValueError(
                        f"{path} holds {len(file.files)} arrays ({', '.join(file.files)}); one is wanted"
                    )
                check_size((file.zip.infolist()[0].file_size,), np.uint8, str(path))  # all of it is read
                array = file[file.files[0]]
        else:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        yield StoredImage(array=array, dtype=array.dtype, axes=("",) * array.ndim)


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write the labels as .npy or .npz (named "labels")."""
    if path.suffix == ".npz":
        np.savez_compressed(path, labels=labels)
    else:
        np.save(path, labels)


def write_sidecar(path: Path, record: RunRecord) -> None:
    """Write the record to ``path`` + ".json", because NumPy files have no place for it."""
    with atomic_write(path.with_name(path.name + ".json")) as temporary:
        temporary.write_text(record.to_json(indent=2) + "\n")
