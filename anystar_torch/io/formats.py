"""Formats of volumes: which module reads or writes a file, by the ending of its name or by what a folder holds."""

from pathlib import Path
from types import ModuleType

from anystar_torch.io import (
    arrays,
    bioimage,
    dicom,
    hdf5,
    label_target,
    medical,
    n5,
    nifti,
    slices,
    tiff,
    zarrs,
)
from anystar_torch.io.dicom_files import is_dicom
from anystar_torch.io.location import Location, is_url
from anystar_torch.io.slice_names import natural

#: Endings, and the module that reads and writes the format. The longest ending that fits counts.
KINDS: dict[str, ModuleType] = {
    ".tif": tiff,
    ".tiff": tiff,
    ".ome.tif": tiff,
    ".ome.tiff": tiff,
    ".nii": nifti,
    ".nii.gz": nifti,
    ".nrrd": medical,
    ".nhdr": medical,
    ".mha": medical,
    ".mhd": medical,
    ".dcm": dicom,
    ".npy": arrays,
    ".npz": arrays,
    ".zarr": zarrs,
    ".ome.zarr": zarrs,
    ".h5": hdf5,
    ".hdf5": hdf5,
    ".n5": n5,
    **dict.fromkeys(bioimage.ENDINGS, bioimage),
}

#: Formats whose files may hold several scenes: positions of a stage, or images.
WITH_SCENES = (tiff, bioimage)

#: Formats that are folders.
_FOLDERS = (zarrs, n5)

#: Endings that are only read, and the ending that is written instead.
_INSTEAD = {
    ".nhdr": ".nrrd",
    ".mhd": ".mha",
    ".dcm": ".nii.gz",
    ".n5": ".zarr",
    **dict.fromkeys(bioimage.ENDINGS, ".ome.tif"),
}


def container(path: Path) -> Path:
    """The file that holds an image: ``file.h5`` for the name ``file.h5:/group/dataset``, else the path itself.

    Args:
        path: a name; it may name a dataset of an HDF5 file.
    """
    return hdf5.split(path)[0]


def kind_of(path: Path) -> str | None:
    """The ending in :data:`KINDS` that the name of ``path`` has; None where it has none.

    Args:
        path: a name, of a file or folder that need not exist; it may name a dataset of an HDF5 file.
    """
    name = container(path).name.lower()
    endings = [ending for ending in KINDS if name.endswith(ending) and len(name) > len(ending)]
    return max(endings, key=len) if endings else None


def volumes(folder: Path) -> list[Path]:
    """The volumes in a folder, by their endings, ordered by the numbers in their names, without hidden files.

    Args:
        folder: its inner folders are not searched.
    """
    found = (p for p in folder.iterdir() if kind_of(p) and not p.name.startswith("."))
    return sorted(found, key=lambda path: natural(path.name))


def is_volume(path: Path) -> bool:
    """Whether a folder is one volume (Zarr, N5, DICOM, or 2D images) and not a folder of volumes.

    Args:
        path: of a folder; a file gives False.
    """
    if zarrs.is_zarr(path) or n5.is_n5(path) or slices.is_slices(path):
        return True
    return path.is_dir() and is_dicom(path)


def recognise(path: Location) -> ModuleType:
    """The module that reads an existing file or folder, or a URL, which is always a Zarr.

    Args:
        path: the file or folder; it may name a dataset of an HDF5 file.

    Raises:
        ValueError: the file is missing, empty, not accessible or in an unknown format.
    """
    return zarrs if is_url(path) else _module_of(container(Path(path)))


def _module_of(path: Path) -> ModuleType:
    """The module that reads an existing file or folder.

    Raises:
        ValueError: as for :func:`recognise`.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name too long for the file system, or a folder without permission
        raise ValueError(f"{path} may not be read: {error.strerror}") from error
    if not there:
        raise ValueError(f"there is no file {path}")
    if path.is_dir():
        return _folder_module(path)
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise ValueError(f"{path} may not be read: {error.strerror}") from error
    if empty:
        raise ValueError(f"{path} is empty (0 bytes)")
    ending = kind_of(path)
    if ending is None and is_dicom(path):  # files of scanners often have no ending
        return dicom
    if ending is None:
        raise ValueError(f"{path} is in an unknown format; known endings: {', '.join(KINDS)}")
    if KINDS[ending] in _FOLDERS:
        raise ValueError(f"{path} is a file; {ending[1:].capitalize()} is a folder")
    return KINDS[ending]


def _folder_module(path: Path) -> ModuleType:
    """The module that reads an existing folder.

    Raises:
        ValueError: the folder is no volume.
    """
    if zarrs.is_zarr(path):
        return zarrs
    if n5.is_n5(path):
        return n5
    if slices.is_slices(path):
        return slices
    if is_dicom(path):
        return dicom
    if label_target.is_unfinished(path):
        raise ValueError(f"{path} is not finished: run the same command again, which continues it")
    raise ValueError(
        slices.why_none(path)
        or f"{path} is a folder, but neither Zarr nor N5 nor DICOM nor a stack of 2D images; give a volume file"
    )


def writer(path: Path, source: Path | None) -> ModuleType:
    """The module that writes ``path``.

    Args:
        path: file or folder to write; a name without an ending means the format of a source without one.
        source: the volume that the labels belong to.

    Raises:
        ValueError: the format is unknown, or only read.
    """
    ending = kind_of(path)
    if ending in _INSTEAD:
        raise ValueError(f"cannot write {path}: {ending} is only read; name it {_INSTEAD[ending]}")
    if ending is not None:
        return KINDS[ending]
    if path.suffix in ("", ".labels") and source is not None and source.is_dir() and kind_of(source) is None:
        return recognise(source)
    known = ", ".join(kind for kind in KINDS if kind not in _INSTEAD)
    raise ValueError(f"cannot write {path}: the ending must be one of {known}")


def beside(path: Path, word: str = "labels") -> Path:
    """The default name of a result: ``nuclei.labels.ome.tif`` for ``nuclei.ome.tif``.

    Args:
        path: of the volume.
        word: what the result is.
    """
    path, inner = hdf5.split(path)
    if inner is not None:
        word = f"{inner.replace('/', '-')}.{word}"
    if kind_of(path) is None and path.exists() and is_dicom(path):
        return path.with_name(f"{path.name}.{word}{_INSTEAD['.dcm']}")
    ending = kind_of(path) or ("" if path.is_dir() else path.suffix)
    stem = path.name[: len(path.name) - len(ending)] if ending else path.name
    return path.with_name(f"{stem}.{word}{_INSTEAD.get(ending, path.name[len(stem) :])}")
