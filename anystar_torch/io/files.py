"""Reading and writing of volumes, in the format that the ending of a file's name tells."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from anystar_torch.io import (
    arrays,
    bioimage,
    dicom,
    hdf5,
    label_store,
    medical,
    n5,
    nifti,
    slices,
    tiff,
    zarrs,
)
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.axes import affine_of, by_letter, decide, select
from anystar_torch.io.label_list import Inside
from anystar_torch.io.labels import compact, whole_numbers
from anystar_torch.io.location import is_url
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.slice_names import natural
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import Spacing, checked_spacing, voxel_size

Sizes = Mapping[str, Any]  # by axis
Units = Mapping[str, str | None]  # by axis

#: Endings, and the module that reads and writes the format. The longest ending that fits counts.
KINDS: dict[str, ModuleType] = {
    ".tif": tiff,
    ".tiff": tiff,
    ".ome.tif": tiff,
    ".ome.tiff": tiff,
    ".nii": nifti,
    ".nii.gz": nifti,
    ".nrrd": medical,
    ".mha": medical,
    ".mhd": medical,
    ".dcm": dicom,
    ".npy": arrays,
    ".npz": arrays,
    ".zarr": zarrs,
    ".h5": hdf5,
    ".hdf5": hdf5,
    ".n5": n5,
    **dict.fromkeys(bioimage.ENDINGS, bioimage),
}

#: Formats whose files may hold several scenes: positions of a stage, or images.
_WITH_SCENES = (tiff, bioimage)

#: Formats that are folders.
_FOLDERS = (zarrs, n5)

#: Endings that are only read, and the ending that is written instead.
_INSTEAD = {".mhd": ".mha", ".dcm": ".nii.gz", ".n5": ".zarr", **dict.fromkeys(bioimage.ENDINGS, ".ome.tif")}


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


def read(
    path: Path | str,
    *,
    channel: int | None = None,
    frame: int | None = None,
    axes: str | None = None,
    spacing: Sequence[float | int] | None = None,
    scene: str | None = None,
) -> SpatialImage:
    """Read one volume.

    Args:
        path: TIFF, OME-TIFF, NIfTI, NRRD, MetaImage, NumPy, Zarr, N5 or HDF5, by its ending, or a folder of 2D
            images; a dataset of an HDF5 file is named as in ``file.h5:/group/name``.
        channel: index of the channel, where the file has several.
        frame: index of the time point, where the file has several.
        axes: one letter of Z, Y, X, C and T per dimension; None for the names in the file.
        spacing: voxel size (z, y, x) in micrometres; None for that of the file.
        scene: name or number of the scene (position), where the file has several.

    Returns:
        The volume in the number type of the file, with spacing where the file has one.

    Raises:
        ValueError: the file is missing, broken or not a volume, or its voxel size is implausible. The message is one
            line and names the file.
    """
    own = partial(_spacing, given=spacing, where=path)
    return _read(Path(path), channel, frame, axes, own, scene)


def read_labels(path: Path | str, *, frame: int | None = None, axes: str | None = None) -> SpatialImage:
    """Read a label volume. Floats are accepted where all are whole numbers, because some programs write them.

    An implausible voxel size is ignored, because labels can be compared without it.

    Args:
        path: as for :func:`read`.
        frame: index of the time point, where the file has several.
        axes: as for :func:`read`.

    Raises:
        ValueError: as for :func:`read`, or a value is a fraction or negative.
    """
    image = _read(Path(path), None, frame, axes, _plausible)
    return replace(image, array=whole_numbers(image.array, str(path)))


def _read(
    path: Path,
    channel: int | None,
    frame: int | None,
    axes: str | None,
    spacing_of: Callable[[Sizes, Units], tuple[Spacing | None, str]],
    scene: str | None = None,
) -> SpatialImage:
    """The volume, with the spacing and unit that ``spacing_of`` returns for the sizes and units of the file."""
    with opened(path, scene) as stored:
        if stored.dtype.kind not in "uifb":
            raise ValueError(f"{path} holds {stored.dtype} voxels; expected one real number per voxel")
        letters = decide(stored, str(path), axes=axes, channel=channel, frame=frame)
        check_size(stored.shape, stored.dtype, str(path), "" if stored.whole else letters)
        array = select(stored.array, letters, channel=channel, frame=frame, where=str(path))
        spacing, unit = spacing_of(*by_letter(stored, letters))
        return SpatialImage(array, spacing, unit, path, stored.style, affine_of(stored, letters))


def _spacing(
    sizes: Sizes, units: Units, *, given: Sequence[float | int] | None, where: Path | str
) -> tuple[Spacing | None, str]:
    """The spacing that the caller gave, or that of the file."""
    return (checked_spacing(given), "um") if given is not None else voxel_size(sizes, units, str(where))


def opened(path: Path, scene: str | None = None) -> AbstractContextManager[StoredImage]:
    """Open the stored image of a file, or of one scene of it.

    Args:
        path: file or folder.
        scene: name or number of the scene, where the file has several.

    Raises:
        ValueError: the file is missing or in an unknown format, or it has no such scene.
    """
    module = recognise(path)
    if module in _WITH_SCENES:
        chosen: AbstractContextManager[StoredImage] = module.opened(path, scene)
        return chosen
    if scene not in (None, "0"):
        raise ValueError(f"{path} has one scene, got scene={scene}; choose 0")
    alone: AbstractContextManager[StoredImage] = module.opened(path)
    return alone


def _plausible(sizes: Sizes, units: Units) -> tuple[Spacing | None, str]:
    """The spacing of the file; None where it is implausible."""
    try:
        return voxel_size(sizes, units, "")
    except ValueError:
        return None, ""


def read_record(path: Path | str) -> RunRecord | None:
    """The run record that is stored with a result; None where the file has none.

    Args:
        path: a label volume, as for :func:`read`.

    Raises:
        ValueError: the file is missing or broken, or a newer program wrote the record.
    """
    path = Path(path)
    module = recognise(path)
    with readable(path, "a result"):
        text = module.record_text(path)
        return None if text is None else RunRecord.from_json(text)


def write(
    path: Path | str | Inside,
    labels: Integer[np.ndarray, "*t d h w"],
    like: SpatialImage,
    record: RunRecord | None = None,
    overwrite: bool = True,
) -> None:
    """Write labels as uint16, or as int32 where a label is above 65535. The file is complete or not there.

    Args:
        path: file or folder; its ending tells the format. A URL is written as OME-Zarr, as is a label image inside of
            an OME-Zarr image.
        labels: of one volume or of a time series.
        like: whose spacing, orientation and style the labels get.
        record: what made the labels; it is stored in the file's metadata, or in a JSON file beside it.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: the file cannot be written.
    """
    stored = compact(labels)
    if isinstance(path, Inside) or is_url(path):
        label_store.write(path, stored, like, record, overwrite)
        return
    path = Path(path)
    module = writer(path, like.path)
    with atomic_write(path, overwrite) as temporary:
        module.write(temporary, stored, like, record)
    if module is arrays:
        arrays.write_sidecar(path, record)


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


def write_image(path: Path | str, image: Float[np.ndarray, "d h w"], like: SpatialImage) -> None:
    """Write an image as float32 NIfTI. The file is complete or not there.

    Args:
        path: the file, .nii or .nii.gz.
        image: of one volume.
        like: whose spacing and orientation the image gets.

    Raises:
        ValueError: the file cannot be written.
    """
    path = Path(path)
    if kind_of(path) not in (".nii", ".nii.gz"):
        raise ValueError(f"cannot write {path}: images are written as .nii or .nii.gz")
    with atomic_write(path) as temporary:
        nifti.write(temporary, image.astype(np.float32), like, None)


def beside(path: Path, word: str = "labels") -> Path:
    """The default name of a result: ``nuclei.labels.ome.tif`` for ``nuclei.ome.tif``.

    Args:
        path: of the volume.
        word: what the result is.
    """
    path, inner = hdf5.split(path)
    if inner is not None:
        word = f"{inner.replace('/', '-')}.{word}"
    if kind_of(path) is None and path.exists() and dicom.is_dicom(path):
        return path.with_name(f"{path.name}.{word}{_INSTEAD['.dcm']}")
    ending = kind_of(path) or ("" if path.is_dir() else path.suffix)
    stem = path.name[: len(path.name) - len(ending)] if ending else path.name
    return path.with_name(f"{stem}.{word}{_INSTEAD.get(ending, path.name[len(stem) :])}")


def frames(path: Path | str, axes: str | None = None, scene: str | None = None) -> int:
    """Number of time points in a file; 1 where it has no time axis.

    Args:
        path: file or folder.
        axes: as for :func:`read`.
        scene: as for :func:`read`.

    Raises:
        ValueError: the file is missing or broken, or its axes are unknown.
    """
    path = Path(path)
    with opened(path, scene) as stored:
        # The first of four dimensions without names is a channel or a time axis; it does not count as time here.
        letters = decide(stored, str(path), axes=axes, channel=None if any(stored.axes) else 0)
        return int(dict(zip(letters, stored.shape, strict=True)).get("T", 1))


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
    return path.is_dir() and dicom.is_dicom(path)


def recognise(path: Path) -> ModuleType:
    """The module that reads an existing file or folder.

    Args:
        path: the file or folder; it may name a dataset of an HDF5 file.

    Raises:
        ValueError: the file is missing, empty, not accessible or in an unknown format.
    """
    path = container(path)
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
    if ending is None and dicom.is_dicom(path):  # files of scanners often have no ending
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
    if dicom.is_dicom(path):
        return dicom
    raise ValueError(
        f"{path} is a folder, but neither Zarr nor N5 nor DICOM nor a stack of 2D images; give a volume file"
    )
