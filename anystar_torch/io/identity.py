"""What a volume is, whatever its file is called and wherever it lies."""

from hashlib import blake2b
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
