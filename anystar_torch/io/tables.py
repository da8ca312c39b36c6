"""Objects as rows of a table and as meshes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.atomic import atomic_write


def write_table(path: Path, rows: list[dict[str, Any]], columns: list[str], overwrite: bool = True) -> None:
    """Write rows as CSV with a header, also where there are none."""
    with atomic_write(path, overwrite) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_meshes(
    path: Path, meshes: list[NDArray[np.float32]], faces: NDArray[np.integer[Any]], overwrite: bool = True
) -> None:
    """Write polyhedra as binary PLY: one scene where ``path`` ends in .ply, else a folder with a file per object.

    Args:
        path: file or folder.
        meshes: per object its corners ``[R, 3]`` as (x, y, z).
        faces: ``[F, 3]``, of every object, outward.
        overwrite: False refuses to replace an existing file or folder.
    """
    if path.suffix.lower() == ".ply":
        corners = np.concatenate(meshes) if meshes else np.empty((0, 3), np.float32)
        shifts = np.arange(len(meshes))[:, None, None] * (len(meshes[0]) if meshes else 0)
        with atomic_write(path, overwrite) as temporary:
            _write_ply(temporary, corners, (faces[None] + shifts).reshape(-1, 3))
        return
    with atomic_write(path, overwrite) as temporary:
        temporary.mkdir()
        for i, corners in enumerate(meshes, 1):
            _write_ply(temporary / f"{i:05d}.ply", corners, faces)


def _write_ply(path: Path, corners: NDArray[np.float32], faces: NDArray[np.integer[Any]]) -> None:
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(corners)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    records = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    records["count"], records["corners"] = 3, faces
    path.write_bytes(header.encode() + corners.astype("<f4").tobytes() + records.tobytes())
