"""The files that a command reads and writes."""

import glob
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Outputs:
    """Files for the results of one volume.

    Attributes:
        labels: label file or folder.
        picture: picture of the result.
        candidates: candidates for relabel.
        table: table of the objects.
        meshes: file or folder of meshes.
        overwrite: whether existing results may be replaced.
    """

    labels: Path
    picture: Path | None = None
    candidates: Path | None = None
    table: Path | None = None
    meshes: Path | None = None
    overwrite: bool = False

    @property
    def extra(self) -> list[Path]:
        """The results beside labels."""
        return [p for p in (self.picture, self.candidates, self.table, self.meshes) if p is not None]

    def check(self, source: Path) -> None:
        """Refuse, before the work, what could not or must not be written after it.

        Args:
            source: the volume.

        Raises:
            ImportError: the package for a format is not installed.
            ValueError: a format is unknown, a folder is missing, a file must not be replaced, or a folder in its place
                is not an earlier result.
        """
        from anystar_torch import io
        from anystar_torch.evaluation import picture

        io.writer(self.labels, source)
        if self.picture is not None:
            picture.check_ending(self.picture)
        if self.table is not None:
            io.check_table(self.table)
        for path in (self.labels, *self.extra):
            io.check_target(path, self.overwrite)
            if path.is_dir() and not self._earlier(path):
                raise ValueError(
                    f"cannot write {path}: it is a folder with other content; choose another name"
                )
        self.spare([source])

    def _earlier(self, folder: Path) -> bool:
        """Whether a folder is an earlier result of the same kind: a label volume, or only meshes."""
        from anystar_torch import io

        if folder == self.labels:
            return io.is_volume(folder)
        return folder == self.meshes and all(re.fullmatch(r"\d+\.ply", p.name) for p in folder.iterdir())

    def spare(self, inputs: list[Path]) -> None:
        """Refuse results that would replace an input or one another.

        Args:
            inputs: the volumes of the command.

        Raises:
            ValueError: a result has the path of an input, or of another result.
        """
        from anystar_torch import io

        io.spare(inputs, (self.labels, *self.extra))


def placed(paths: list[Path], output: Path | None, wanted: Outputs) -> list[Outputs]:
    """The files for the results of every volume.

    Args:
        paths: the volumes.
        output: file or folder for labels; None for files beside the volumes.
        wanted: the other results: files for one volume, folders for several.

    Raises:
        ValueError: one file is given for several volumes, or two results have one name.
    """
    if len(paths) == 1:
        return [replace(wanted, labels=_labels(paths[0], output))]
    endings = {"picture": ".png", "candidates": ".candidates.npz", "table": ".csv", "meshes": ""}
    for name, folder in [("output", output), *((name, getattr(wanted, name)) for name in endings)]:
        if folder is not None and not folder.is_dir():
            raise ValueError(
                f"for several volumes --{name} must be a folder that exists, got {folder}"
                + (" (or leave out -o, to write beside each volume)" if name == "output" else "")
            )
    places = []
    for path in paths:
        folders = {name: getattr(wanted, name) for name in endings}
        extra = {n: f / f"{stem(path)}{endings[n]}" for n, f in folders.items() if f is not None}
        places.append(replace(wanted, labels=_labels(path, output), **extra))
    seen: dict[Path, Path] = {}
    for path, place in zip(paths, places, strict=True):
        place.spare(paths)
        for target in (place.labels, *place.extra):
            if target in seen:
                raise ValueError(f"{seen[target]} and {path} would both be written to {target}; rename one")
            seen[target] = path
    return places


def _labels(path: Path, output: Path | None) -> Path:
    """The label file of one volume."""
    from anystar_torch import io

    if output is None:
        return io.beside(path)
    is_store = io.kind_of(output) is not None  # an existing Zarr is a folder, but not one for results
    return (
        output / io.beside(path).name if os.path.isdir(output) and not is_store else output
    )  # a name may be too long for is_dir


def stem(path: Path) -> str:
    """The name of a volume without its ending: ``nuclei`` for ``nuclei.tif`` and for ``nuclei.labels.tif``.

    Args:
        path: of the volume; it may name a dataset of an HDF5 file, which is then added to the name.
    """
    from anystar_torch import io

    held, ending = io.container(path), io.kind_of(path) or ""
    name = held.name[: len(held.name) - len(ending)].removesuffix(".labels")
    inner = str(path)[len(str(held)) :].strip(":/").replace("/", "-")
    return f"{name}.{inner}" if inner else name


def expand(inputs: list[str]) -> list[Path]:
    """The volumes that files, folders and patterns name.

    Args:
        inputs: as the user gave them; a shell may leave patterns as they are.

    Raises:
        ValueError: a folder holds no volume, or no file matches a pattern.
    """
    from anystar_torch import io

    paths: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not io.is_volume(path):
            found = [p for p in io.volumes(path) if not _is_result(p)]
            if not found:
                raise ValueError(f"{path} holds no volume; known endings: {', '.join(io.KINDS)}")
            paths += found
        elif not path.exists() and glob.has_magic(text):
            matched = sorted(Path(name) for name in glob.glob(text, recursive=True))
            if not matched:
                raise ValueError(f"no file matches {text}")
            paths += [p for p in matched if not _is_result(p)] or matched
        else:
            paths.append(path if path.name not in ("", "..") else path.resolve())
    return paths


def _is_result(path: Path) -> bool:
    """Whether a file is the result of an earlier prediction, by its name."""
    return ".labels." in path.name or is_candidates(path)


def is_candidates(path: Path) -> bool:
    """Whether a file holds candidates of one of several volumes, by its name.

    Args:
        path: of the file, which need not exist.
    """
    return path.name.endswith(".candidates.npz")


def bytes_of(text: str | None) -> float | None:
    """The number of bytes that a text such as ``6GB`` means; None for None.

    Args:
        text: a positive number and KB, MB, GB or TB, in powers of 1000.

    Raises:
        ValueError: the text is not a size.
    """
    if text is None:
        return None
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    number, unit = text[:-2], text[-2:].upper()
    try:
        size = float(number) * units[unit]
    except (KeyError, ValueError):
        size = 0.0
    if not 0 < size < math.inf:
        raise ValueError(f"--max-memory must be a size such as 6GB or 800MB, got {text!r}")
    return size
