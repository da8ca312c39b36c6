"""Tables (CSV, Parquet) and meshes (PLY) of objects."""

import csv
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Integer

from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.sparing import check_folder

_PARQUET = ".parquet"
_TABLES = (".csv", _PARQUET)
_OTHER_MESHES = (".obj", ".stl", ".off", ".vtk", ".vtp", ".glb", ".gltf", ".3mf")
_ROWS = 1 << 16  # of a group in a Parquet file, which are in memory at once


def check_table(path: Path) -> None:
    """Refuse a table of another format, or one whose package is not installed, before the work.

    Args:
        path: the file.

    Raises:
        ImportError: the package for Parquet is not installed.
        ValueError: the name has the ending of another format.
    """
    if path.suffix.lower() not in _TABLES:
        raise ValueError(f"cannot write {path}: tables end in {' or '.join(_TABLES)}")
    if path.suffix.lower() == _PARQUET:
        _pyarrow()


def write_table(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type], overwrite: bool = True
) -> None:
    """Write rows as Parquet where the name ends in .parquet, else as CSV with a header line.

    Rows are written as they come, so that they may be made one by one.

    Args:
        path: the file.
        rows: a value per column; missing values stay empty.
        columns: names and types (int, float, str) of the columns, in order.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: the file cannot be written.
        ImportError: the package for Parquet is not installed.
    """
    if path.suffix.lower() == _PARQUET:
        _pyarrow()
    with atomic_write(path, overwrite) as temporary:
        if path.suffix.lower() == _PARQUET:
            _write_parquet(temporary, rows, columns)
            return
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type]) -> None:
    """Write rows as Parquet, in groups of a fixed number of rows."""
    arrow, parquet = _pyarrow()
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    remaining = iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(remaining, _ROWS)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    """The library and its module for Parquet.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("Parquet needs an extra package: pip install 'anystar_torch[parquet]'") from error
    return pyarrow, pyarrow.parquet


def write_meshes(
    path: Path,
    meshes: list[Float32[np.ndarray, "r 3"]],
    faces: Integer[np.ndarray, "f 3"],
    overwrite: bool = True,
) -> None:
    """Write polyhedra as binary PLY: one file with all of them if ``path`` ends in .ply, else a folder of files.

    Args:
        path: file or folder.
        meshes: the vertices (x, y, z) of each object.
        faces: vertex indices of the triangles of every object, with normals that point outward.
        overwrite: whether an existing file or folder may be replaced.

    Raises:
        ValueError: the file or folder cannot be written, or it is a folder with other content than meshes.
    """
    check_meshes(path)
    if path.suffix.lower() == ".ply":
        vertices = np.concatenate(meshes) if meshes else np.empty((0, 3), np.float32)
        shifts = np.arange(len(meshes))[:, None, None] * (len(meshes[0]) if meshes else 0)
        with atomic_write(path, overwrite) as temporary:
            _write_ply(temporary, vertices, (faces[None] + shifts).reshape(-1, 3))
        return
    check_folder(path, holds_only_meshes)
    with atomic_write(path, overwrite) as temporary:
        temporary.mkdir()
        for i, vertices in enumerate(meshes, 1):
            _write_ply(temporary / f"{i:05d}.ply", vertices, faces)


def check_meshes(path: Path) -> None:
    """Refuse a name that means another format of meshes. Any other name without .ply is that of a folder.

    Args:
        path: file or folder.

    Raises:
        ValueError: the name has the ending of another format.
    """
    if path.suffix.lower() in _OTHER_MESHES:
        raise ValueError(f"cannot write {path}: meshes are one .ply file, or a folder of them")


def holds_only_meshes(folder: Path) -> bool:
    """Whether a folder has no other content than files of :func:`write_meshes`.

    Args:
        folder: an existing folder.
    """
    return all(re.fullmatch(r"\d+\.ply", one.name) for one in folder.iterdir())


def _write_ply(path: Path, vertices: Float32[np.ndarray, "v 3"], faces: Integer[np.ndarray, "f 3"]) -> None:
    """Write one mesh as binary PLY."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    triangles = np.empty(len(faces), [("count", "u1"), ("vertices", "<i4", 3)])
    triangles["count"], triangles["vertices"] = 3, faces
    path.write_bytes(header.encode() + vertices.astype("<f4").tobytes() + triangles.tobytes())
