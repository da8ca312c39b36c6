"""From what a user names to the files that are read and written."""

import glob
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Outputs:
    """Where the results of one volume go."""

    labels: Path
    picture: Path | None = None
    candidates: Path | None = None
    points: Path | None = None
    meshes: Path | None = None
    overwrite: bool = False

    @property
    def extra(self) -> list[Path]:
        """What is wanted beside the labels."""
        return [p for p in (self.picture, self.candidates, self.points, self.meshes) if p is not None]

    def check(self, source: Path) -> None:
        """Refuse before the work what could not, or must not, be written after it.

        Raises:
            ValueError: a format that is not known, a folder that is not there, a file that is, or something in the
                way that is no earlier result.
        """
        from anystar_torch import io
        from anystar_torch.evaluation import picture

        io.writer(self.labels, source)
        if self.picture is not None:
            picture.check(self.picture)
        for path in (self.labels, *self.extra):
            if not path.parent.is_dir():
                raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
            if path.exists() and not self.overwrite:
                raise ValueError(f"{path} exists; give --overwrite to replace it, or another name")
            if path.is_dir() and not self._earlier(path):
                raise ValueError(
                    f"cannot write {path}: that is a folder of something else; give another name"
                )
        self.spare([source])

    def _earlier(self, folder: Path) -> bool:
        """Whether a folder that is in the way is a result of this kind: a label volume, or nothing but meshes."""
        from anystar_torch import io

        if folder == self.labels:
            return io.is_volume(folder)
        return folder == self.meshes and all(re.fullmatch(r"\d+\.ply", p.name) for p in folder.iterdir())

    def spare(self, inputs: list[Path]) -> None:
        """Refuse results that would replace a volume they are made from, or one another."""
        seen: set[Path] = set()
        for path in (self.labels, *self.extra):
            place = path.resolve()
            if place in seen:
                raise ValueError(f"two results would be written to {path}; give one of them another name")
            seen.add(place)
            for source in inputs:
                if place == source.resolve() or place in source.resolve().parents:
                    raise ValueError(f"{path} would replace {source}, which is read; give another name")


def placed(paths: list[Path], output: Path | None, wanted: Outputs) -> list[Outputs]:
    """Where the results of every volume go: beside it, in the file named, or in the folders named.

    Args:
        paths: the volumes.
        output: file or folder for labels; None for beside the volume.
        wanted: what else is wanted: files for one volume, folders for several.

    Raises:
        ValueError: several volumes for one file, or two that would be written to one.
    """
    if len(paths) == 1:
        return [replace(wanted, labels=_labels(paths[0], output))]
    endings = {"picture": ".png", "candidates": ".candidates.npz", "points": ".csv", "meshes": ""}
    for name, folder in [("output", output), *((name, getattr(wanted, name)) for name in endings)]:
        if folder is not None and not folder.is_dir():
            raise ValueError(
                f"for several volumes --{name} must be a folder that exists, got {folder}"
                + (" (or leave -o out, to write beside each)" if name == "output" else "")
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
    from anystar_torch import io

    if output is None:
        return io.beside(path)
    is_store = io.kind_of(output) is not None  # a Zarr that exists is no folder to put results into
    return output / io.beside(path).name if output.is_dir() and not is_store else output


def stem(path: Path) -> str:
    """The name of a volume without its ending; ``nuclei.labels.tif`` belongs to ``nuclei``."""
    from anystar_torch import io

    ending = io.kind_of(path) or ""
    return path.name[: len(path.name) - len(ending)].removesuffix(".labels")


def expand(inputs: list[str]) -> list[Path]:
    """Files, the volumes of folders, and patterns that the shell left alone."""
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
    return ".labels." in path.name or is_candidates(path)


def is_candidates(path: Path) -> bool:
    """Whether a file holds the candidates of one volume of several, by its name."""
    return path.name.endswith(".candidates.npz")


def bytes_of(text: str | None) -> float | None:
    """``6GB`` as bytes."""
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
