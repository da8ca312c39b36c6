"""Reading and writing of volumes, in the format that the ending of a file's name tells."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from anystar_torch.io import arrays, label_store, nifti
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.axes import affine_of, decide, select, spacing_of
from anystar_torch.io.formats import WITH_SCENES, container, is_volume, kind_of, recognise, writer
from anystar_torch.io.label_list import Inside
from anystar_torch.io.labels import compact, whole_numbers
from anystar_torch.io.location import Location, checked, is_url
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.sparing import check_folder, holds, spare
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import Spacing, checked_spacing

#: Whether a file that is mapped into memory cannot be replaced. An array is then read, and not mapped.
_MAPPED_IS_LOCKED = sys.platform == "win32"


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
        path: TIFF, OME-TIFF, NIfTI, NRRD, MetaImage, DICOM, NumPy, Zarr, N5, HDF5 or a format of a microscope, by its
            ending. Or a folder of 2D images or of a DICOM series, or the URL of a Zarr. A dataset of an HDF5 file is
            named as in ``file.h5:/group/name``.
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
    given = None if spacing is None else checked_spacing(spacing)
    own = partial(_spacing, given=given, where=path)
    return _read(checked(path), channel, frame, axes, own, scene)


def read_labels(
    path: Path | str,
    *,
    channel: int | None = None,
    frame: int | None = None,
    axes: str | None = None,
    scene: str | None = None,
    as_stored: bool = False,
) -> SpatialImage:
    """Read a label volume. Floats are accepted where all are whole numbers, because some programs write them.

    An implausible voxel size is ignored, because labels can be compared without it.

    Args:
        path: as for :func:`read`.
        channel: index of the channel, where the file has several.
        frame: index of the time point, where the file has several.
        axes: as for :func:`read`.
        scene: as for :func:`read`.
        as_stored: whether values are returned unchecked, for labels in which a negative value has a meaning.

    Raises:
        ValueError: as for :func:`read`, or a value is a fraction or negative.
    """
    image = _read(checked(path), channel, frame, axes, _plausible, scene)
    return image if as_stored else replace(image, array=whole_numbers(image.array, str(path)))


def _read(
    path: Location,
    channel: int | None,
    frame: int | None,
    axes: str | None,
    spacing: Callable[[StoredImage, str], tuple[Spacing | None, str]],
    scene: str | None = None,
) -> SpatialImage:
    """The volume, with the spacing and unit that ``spacing`` returns for the stored image and its letters."""
    with opened(path, scene) as stored:
        if stored.dtype.kind not in "uifb":
            raise ValueError(f"{path} holds {stored.dtype} voxels; expected one real number per voxel")
        letters = decide(stored, str(path), axes=axes, channel=channel, frame=frame)
        check_size(stored.shape, stored.dtype, str(path), "" if stored.whole else letters)
        array = select(stored.array, letters, channel=channel, frame=frame, where=str(path))
        array = np.array(array) if _MAPPED_IS_LOCKED and _is_mapped(array) else array
        place = path if isinstance(path, Path) else None
        return SpatialImage(array, *spacing(stored, letters), place, stored.style, affine_of(stored, letters))


def _is_mapped(array: Any) -> bool:
    """Whether the memory of an array is a file."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def _spacing(
    stored: StoredImage, letters: str, *, given: Spacing | None, where: Path | str
) -> tuple[Spacing | None, str]:
    """The spacing that the caller gave, or that of the file."""
    return (given, "um") if given is not None else spacing_of(stored, letters, str(where))


def opened(path: Location, scene: str | None = None) -> AbstractContextManager[StoredImage]:
    """Open the stored image of a file, or of one scene of it.

    Args:
        path: file or folder, or the URL of a Zarr.
        scene: name or number of the scene, where the file has several.

    Raises:
        ValueError: the file is missing or in an unknown format, or it has no such scene.
    """
    module = recognise(path)
    if module in WITH_SCENES:
        chosen: AbstractContextManager[StoredImage] = module.opened(path, scene)
        return chosen
    if scene not in (None, "0"):
        raise ValueError(f"{path} has one scene, got scene={scene}; choose 0")
    alone: AbstractContextManager[StoredImage] = module.opened(path)
    return alone


def _plausible(stored: StoredImage, letters: str) -> tuple[Spacing | None, str]:
    """The spacing of the file; None where it is implausible."""
    try:
        return spacing_of(stored, letters, "")
    except ValueError:
        return None, ""


def read_record(path: Path | str) -> RunRecord | None:
    """The run record that is stored with a result; None where the file has none.

    Args:
        path: a label volume, as for :func:`read`.

    Raises:
        ValueError: the file is missing or broken, or a newer program wrote the record.
    """
    path = checked(path)
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
        overwrite: whether an existing file may be replaced. A folder must be a volume or empty to be replaced.

    Raises:
        ValueError: the file cannot be written, ``path`` is a folder with other content, or it is the volume that
            ``like`` was read from and has no run record.
    """
    stored = compact(labels)
    if isinstance(path, Inside) or is_url(path):
        label_store.write(path, stored, like, record, overwrite)
        return
    path = Path(path)
    module = writer(path, like.path)
    if module is arrays and record is not None:
        arrays.check_sidecar(path)
    with atomic_write(path, overwrite) as temporary:
        check_folder(path, _is_volume_or_empty)
        if like.path is not None:
            _spare_volume(like.path, path)
        module.write(temporary, stored, like, record)
    if module is arrays:
        arrays.write_sidecar(path, record)


def _is_volume_or_empty(folder: Path) -> bool:
    return is_volume(folder) or not any(folder.iterdir())


def _spare_volume(volume: Path, target: Path) -> None:
    """Refuse labels that would replace the volume that they belong to.

    Labels that this package wrote have a run record. They may be read, corrected and written again.

    Raises:
        ValueError: names the volume.
    """
    if not container(volume).exists() or not holds(target, volume):
        return
    if not holds(volume, target) or read_record(volume) is None:
        spare([volume], [target])


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


def frames(
    path: Path | str, axes: str | None = None, scene: str | None = None, frame: int | None = None
) -> int:
    """Number of time points in a file; 1 where it has no time axis.

    Args:
        path: file or folder.
        axes: as for :func:`read`.
        scene: as for :func:`read`.
        frame: index of the time point that will be read. The first of four dimensions without names is then time.

    Raises:
        ValueError: the file is missing or broken, or its axes are unknown.
    """
    path = checked(path)
    with opened(path, scene) as stored:
        # Without a frame, the first of four dimensions without names does not count as time: it may be a channel axis.
        channel = None if any(stored.axes) or frame is not None else 0
        letters = decide(stored, str(path), axes=axes, channel=channel, frame=frame)
        return int(dict(zip(letters, stored.shape, strict=True)).get("T", 1))
