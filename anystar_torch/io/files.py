"""Which format a file has, and the one way in and out of all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io import arrays, itk, nifti, slices, tiff, zarrs
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.axes import affine_of, by_letter, decide, select
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size
from anystar_torch.io.voxel_size import Spacing, checked, voxel_size

Sizes = Mapping[str, Any]
Units = Mapping[str, str | None]

#: Endings, and the module that knows the format. The longest ending that fits counts.
KINDS: dict[str, ModuleType] = {
    ".tif": tiff, ".tiff": tiff, ".ome.tif": tiff, ".ome.tiff": tiff,
    ".nii": nifti, ".nii.gz": nifti,
    ".nrrd": itk, ".mha": itk, ".mhd": itk,
    ".npy": arrays, ".npz": arrays,
    ".zarr": zarrs,
}  # fmt: skip

#: Endings that are read and never written, and what is written instead: a header and its data are two files.
_INSTEAD = {".mhd": ".mha"}


def kind_of(path: Path) -> str | None:
    """The ending in :data:`KINDS` that ``path`` has, None where none fits."""
    name = path.name.lower()
    endings = [ending for ending in KINDS if name.endswith(ending) and len(name) > len(ending)]
    return max(endings, key=len) if endings else None


def read(
    path: Path | str,
    *,
    channel: int | None = None,
    frame: int | None = None,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
) -> Scan:
    """Read one volume from a file.

    Args:
        path: TIFF, OME-TIFF, NIfTI, NRRD, MetaImage, NumPy or Zarr, by its ending, or a folder of 2D slices.
        channel: which channel of a file that has several.
        frame: which time point of a file that has several.
        axes: what the dimensions are, one letter of Z, Y, X, C and T each; the file's own names if None.
        spacing: voxel size (z, y, x) in micrometres; the file's own if None.

    Returns:
        The volume ``[D, H, W]`` in the file's own number type, with spacing where the file knows it.

    Raises:
        ValueError: the file is missing, unreadable or no volume, or its voxel size cannot be right; one line that
            names it and the reason.
    """
    return _read(Path(path), channel, frame, axes, lambda sizes, units: _spacing(sizes, units, spacing, path))


def read_labels(path: Path | str, *, frame: int | None = None, axes: str | None = None) -> Scan:
    """Read a label volume; floats are taken where every one is a whole number, as some tools write them.

    A voxel size that cannot be right counts as none: labels can be compared without it.
    """
    scan = _read(Path(path), None, frame, axes, _plausible)
    if scan.array.dtype.kind == "f":
        rounded = np.rint(scan.array)
        if not np.array_equal(rounded, scan.array):
            raise ValueError(
                f"{path} holds fractions, not labels; was the image given instead of its labels?"
            )
        scan = replace(scan, array=rounded.astype(np.int64))
    if scan.array.min() < 0:
        raise ValueError(f"{path} holds negative labels; labels start at 0 (background)")
    return scan


def _read(
    path: Path,
    channel: int | None,
    frame: int | None,
    axes: str | None,
    spacing_of: Callable[[Sizes, Units], tuple[Spacing | None, str]],
) -> Scan:
    """The volume, with the spacing and unit that ``spacing_of`` makes of the file's sizes and units."""
    with recognise(path).opened(path) as stored:
        if stored.dtype.kind not in "uifb":
            raise ValueError(f"{path} holds {stored.dtype} voxels; one real number per voxel is wanted")
        letters = decide(stored, str(path), axes=axes, channel=channel, frame=frame)
        check_size(stored.shape, stored.dtype, str(path), "" if stored.whole else letters)
        array = select(stored.array, letters, channel=channel, frame=frame, where=str(path))
        spacing, unit = spacing_of(*by_letter(stored, letters))
        return Scan(array, spacing, unit, path, stored.style, affine_of(stored, letters))


def _spacing(
    sizes: Sizes, units: Units, given: Sequence[float] | None, where: Path | str
) -> tuple[Spacing | None, str]:
    """The caller's spacing, or the file's."""
    return (checked(given), "um") if given is not None else voxel_size(sizes, units, str(where))


def _plausible(sizes: Sizes, units: Units) -> tuple[Spacing | None, str]:
    """The file's spacing, None where it cannot be right."""
    try:
        return voxel_size(sizes, units, "")
    except ValueError:
        return None, ""


def write(
    path: Path | str,
    labels: NDArray[Any],
    like: Scan,
    record: RunRecord | None = None,
    overwrite: bool = True,
) -> None:
    """Write labels as uint16, or int32 where there are more than 65535, whole or not at all.

    Args:
        path: where to; the format is told by its ending.
        labels: ``[D, H, W]`` integer labels.
        like: the scan they belong to: spacing, orientation and style are kept.
        record: what made them; goes into the file's own metadata, or into a JSON file beside it.
        overwrite: False refuses to replace an existing file.
    """
    path = Path(path)
    module = writer(path, like.path)
    compact = labels.astype(np.uint16 if labels.max(initial=0) < 1 << 16 else np.int32, copy=False)
    with atomic_write(path, overwrite) as temporary:
        module.write(temporary, compact, like, record)
    if module is arrays and record is not None:
        arrays.write_sidecar(path, record)


def writer(path: Path, source: Path | None) -> ModuleType:
    """The format that ``path`` is written in: told by its ending, or where it has none by a source that has none.

    Raises:
        ValueError: neither tells, or the format is one that is only read.
    """
    ending = kind_of(path)
    if ending in _INSTEAD:
        raise ValueError(
            f"cannot write {path}: {ending} is two files; name it {_INSTEAD[ending]}, which is one"
        )
    if ending is not None:
        return KINDS[ending]
    if path.suffix in ("", ".labels") and source is not None and source.is_dir() and kind_of(source) is None:
        return recognise(source)
    known = ", ".join(kind for kind in KINDS if kind not in _INSTEAD)
    raise ValueError(f"cannot write {path}: the ending must be one of {known}")


def write_image(path: Path | str, image: NDArray[Any], like: Scan) -> None:
    """Write a float32 image ``[D, H, W]`` as NIfTI, whole or not at all."""
    path = Path(path)
    if kind_of(path) not in (".nii", ".nii.gz"):
        raise ValueError(f"cannot write {path}: images are written as .nii or .nii.gz")
    with atomic_write(path) as temporary:
        nifti.write(temporary, image.astype(np.float32), like, None)


def beside(path: Path, word: str = "labels") -> Path:
    """Where results go unless told otherwise: ``nuclei.ome.tif`` gives ``nuclei.labels.ome.tif``, .mhd a .mha."""
    ending = kind_of(path) or ("" if path.is_dir() else path.suffix)
    stem = path.name[: len(path.name) - len(ending)] if ending else path.name
    return path.with_name(f"{stem}.{word}{_INSTEAD.get(ending, path.name[len(stem) :])}")


def frames(path: Path | str, axes: str | None = None) -> int:
    """How many time points a file holds, 1 where it has no time axis.

    Args:
        path: the file.
        axes: what the dimensions are, as in :func:`read`.
    """
    path = Path(path)
    with recognise(path).opened(path) as stored:
        # Four dimensions without names are a channel or a time axis; either way there is no time to count.
        letters = decide(stored, str(path), axes=axes, channel=None if any(stored.axes) else 0)
        return int(dict(zip(letters, stored.shape, strict=True)).get("T", 1))


def volumes(folder: Path) -> list[Path]:
    """The volumes that lie in a folder, by their endings, in the order of their names; hidden files are none."""
    return sorted(p for p in folder.iterdir() if kind_of(p) and not p.name.startswith("."))


def is_volume(path: Path) -> bool:
    """Whether a folder is one volume (Zarr, or 2D slices) and not a folder of volumes."""
    return zarrs.is_zarr(path) or slices.is_slices(path)


def recognise(path: Path) -> ModuleType:
    """The format of a file or folder that is there, holds something and is known.

    Raises:
        ValueError: it is not, does not, or has not.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name too long for the file system, a folder that may not be entered
        raise ValueError(f"{path} may not be read: {error.strerror}") from error
    if not there:
        raise ValueError(f"there is no file {path}")
    if path.is_dir():
        if zarrs.is_zarr(path):
            return zarrs
        if slices.is_slices(path):
            return slices
        raise ValueError(f"{path} is a folder, and neither Zarr nor a stack of 2D images; give a volume file")
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise ValueError(f"{path} may not be read: {error.strerror}") from error
    if empty:
        raise ValueError(f"{path} is empty (0 bytes)")
    ending = kind_of(path)
    if ending is None:
        raise ValueError(f"{path} is in no known format; known endings: {', '.join(KINDS)}")
    if KINDS[ending] is zarrs:
        raise ValueError(f"{path} is a file; Zarr is a folder")
    return KINDS[ending]
