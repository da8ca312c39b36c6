"""What a volume is, whatever its file is called and wherever it lies."""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped


def checksum(volume: Shaped[np.ndarray, "d h w"]) -> str:
    """16 hexadecimal digits of a volume's shape, number type and voxels (BLAKE2b of 64 bits).

    Args:
        volume: its bytes are read plane by plane, so that no copy of it is made.
    """
    digest: Any = blake2b(digest_size=8)
    digest.update(f"{volume.shape} {volume.dtype.newbyteorder('=').str}".encode())
    for plane in volume:
        digest.update(np.ascontiguousarray(plane, plane.dtype.newbyteorder("=")))
    return str(digest.hexdigest())


def version_of(path: Path) -> str:
    """16 hexadecimal digits that change with a file: of its size and the time of its last change.

    Args:
        path: file, or folder; of a folder the files that lie directly in it, such as metadata or slices.
    """
    files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
    digest = blake2b(digest_size=8)
    for one in files:
        status = one.stat()
        digest.update(f"{one.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
