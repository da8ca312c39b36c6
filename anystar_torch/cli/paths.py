"""The files that a command reads and writes."""

import glob
import os
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

#: Arrays that every file of candidates holds.
_CANDIDATES = {"points.npy", "distances.npy", "scores.npy"}


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

    def check(self, source: Path | None) -> None:
        """Refuse, before the work, what could not or must not be written after it.

        Args:
            source: the volume; None where it is not known.

        Raises:
            ImportError: the package for a format is not installed.
            ValueError: a format is unknown, a folder is missing, a file must not be replaced, or a folder in its place
                is not an earlier result.
        """
        from anystar_torch import io
        from anystar_torch.evaluation import picture
        from anystar_torch.io import arrays
        from anystar_torch.io.tables import check_meshes

        if io.writer(self.labels, source) is arrays:
            arrays.check_sidecar(self.labels)
        if self.picture is not None:
            picture.check_ending(self.picture)
        for path in (self.labels, *self.extra):
            io.check_target(path, self.overwrite)
            io.check_folder(path, self._earlier)
        self.spare([] if source is None else [source])
        if self.table is not None:
            io.check_table(self.table)
        if self.meshes is not None:
            check_meshes(self.meshes)

    def _earlier(self, folder: Path) -> bool:
        """Whether a folder is an earlier result of the same kind: a label volume, or only meshes."""
        from anystar_torch import io

        if folder == self.labels:
            return io.is_volume(folder)
        return folder == self.meshes and io.holds_only_meshes(folder)

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
        wanted: the other results: files or folders for one volume, folders for several. A folder for the meshes of
            one volume holds one file per object.

    Raises:
        ValueError: one file is given for several volumes, or two results have one name.
    """
    endings = {"picture": ".png", "candidates": ".candidates.npz", "table": ".csv"}
    if len(paths) == 1:
        named = {name: getattr(wanted, name) for name in endings}
        inside = {n: f / f"{stem(paths[0])}{endings[n]}" for n, f in named.items() if f and os.path.isdir(f)}
        return [replace(wanted, labels=label_file(paths[0], output), **inside)]
    endings["meshes"] = ""
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
        places.append(replace(wanted, labels=label_file(path, output), **extra))
    seen: dict[Path, Path] = {}
    for path, place in zip(paths, places, strict=True):
        place.spare(paths)
        for target in (place.labels, *place.extra):
            if target in seen:
                raise ValueError(f"{seen[target]} and {path} would both be written to {target}; rename one")
            seen[target] = path
    return places


def label_file(path: Path, output: Path | None) -> Path:
    """The label file of one volume: the output, or a file in it where it is a folder for results.

    Args:
        path: of the volume, which need not exist.
        output: file or folder; None for a file beside the volume.
    """
    from anystar_torch import io
    from anystar_torch.io.slices import RECORD

    if output is None:
        return io.beside(path)
    # labels of an earlier run may be a folder, too: a Zarr, or 2D images with a run record
    is_labels = io.kind_of(output) is not None or os.path.isfile(output / RECORD)
    # a name may be too long for is_dir
    return output / io.beside(path).name if os.path.isdir(output) and not is_labels else output


def stem(path: Path) -> str:
    """The name of a volume without its ending: ``nuclei`` for ``nuclei.tif`` and for ``nuclei.labels.tif``.

    Args:
        path: of the volume; it may name a dataset of an HDF5 file, which is then added to the name.
    """
    from anystar_torch import io

    held, ending = io.container(path), io.kind_of(path) or ""
    name = held.name[: len(held.name) - len(ending)].removesuffix(".labels")
    inner = _dataset(path).replace("/", "-")
    return f"{name}.{inner}" if inner else name


def named_dataset(file: Path, like: Path) -> Path:
    """The name of the same dataset in another HDF5 file, with a colon; the file itself where none is named.

    Args:
        file: which need not exist.
        like: of a volume; it may name a dataset of an HDF5 file.
    """
    inner = _dataset(like)
    return Path(f"{file}:/{inner}") if inner else file


def _dataset(path: Path) -> str:
    """The dataset of an HDF5 file that a path names; "" where it names none."""
    from anystar_torch.io.hdf5 import split

    return split(path)[1] or ""


def expand(inputs: list[str]) -> list[Path]:
    """The volumes that files, folders and patterns name. An OME-TIFF of several files counts once.

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
            found = [p for p in volumes_in(path) if not _is_result(p)]
            if not found:
                raise ValueError(f"{path} holds no volume; known endings: {', '.join(io.KINDS)}")
            paths += found
        elif not io.container(path).exists() and glob.has_magic(text):
            matched = _matches(text)
            if not matched:
                raise ValueError(f"no file matches {text}")
            paths += [p for p in matched if not _is_result(p)] or matched
        else:
            paths.append(path if path.name not in ("", "..") else path.resolve())
    return without_parts(paths)


def _matches(pattern: str) -> list[Path]:
    """The files that match a pattern. Its leading folders that exist are names, also with brackets in them."""
    folder = Path()
    for part in Path(pattern).parts:
        if not (folder / part).is_dir():
            break
        folder /= part
    rest = str(Path(pattern).relative_to(folder))
    if pattern.endswith((os.sep, os.altsep or os.sep)):  # matches folders alone
        rest += os.sep
    return sorted(folder / name for name in glob.glob(rest, root_dir=folder, recursive=True))


def volumes_in(folder: Path) -> list[Path]:
    """The volumes in a folder: files, and inner folders that are one volume, ordered by the numbers in their names.

    Args:
        folder: its other inner folders are not searched.
    """
    from anystar_torch import io
    from anystar_torch.io.slice_names import natural

    # a folder without permission, such as lost+found, is left out
    others = [p for p in folder.iterdir() if io.kind_of(p) is None and os.access(p, os.R_OK | os.X_OK)]
    inner = [p for p in others if not p.name.startswith(".") and io.is_volume(p)]
    return sorted([*io.volumes(folder), *inner], key=lambda path: natural(path.name))


def without_parts(paths: list[Path]) -> list[Path]:
    """Leave out files that belong to the OME-TIFF of an earlier file, because that one is read with all its files.

    Args:
        paths: of volumes.
    """
    kept: list[Path] = []
    parts: set[Path] = set()
    for path in paths:
        if path.resolve() not in parts:
            kept.append(path)
            parts |= _other_files(path)
    return kept


def _other_files(path: Path) -> set[Path]:
    """The other files of the set that an OME-TIFF belongs to; none for a file that cannot be read."""
    from anystar_torch.io.ome_xml import description
    from anystar_torch.io.tiff_log import complained

    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")) or not path.is_file():
        return set()
    try:
        with complained(path) as file:
            if file.ome_metadata is None:
                return set()
            xml = description(file.ome_metadata, path)
            root = ElementTree.fromstring(xml)
            # the file itself may have been renamed after its description was written
            own = root.get("UUID") if xml == file.ome_metadata else None
    except ValueError:  # what is wrong with it is said where it is read
        return set()
    parts = [part for part in root.iter() if part.tag.endswith("UUID") and part.text != own]
    names = {part.get("FileName") for part in parts}
    return {(path.parent / name).resolve() for name in names if name} - {path.resolve()}


def is_labels(path: Path) -> bool:
    """Whether a file or folder holds the labels of an earlier prediction, by its name.

    Args:
        path: which need not exist.
    """
    return ".labels." in path.name or path.name.endswith(".labels")


def _is_result(path: Path) -> bool:
    """Whether a file or folder is the result of an earlier prediction."""
    return is_labels(path) or is_candidates(path)


def is_candidates(path: Path) -> bool:
    """Whether a file holds candidates, by its name or, for other names that end in .npz, by the arrays in it.

    Args:
        path: of the file, which need not exist.
    """
    if path.suffix.lower() != ".npz" or path.name.endswith(".candidates.npz"):
        return path.name.endswith(".candidates.npz")
    try:
        with ZipFile(path) as archive:
            return set(archive.namelist()) >= _CANDIDATES
    except (OSError, BadZipFile):
        return False
