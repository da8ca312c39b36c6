"""A volume as a folder of 2D images, one per z, in the order of the numbers in their names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from anystar_torch.io import tiff
from anystar_torch.io.reading import readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.slice_names import SliceGrid, natural, slice_grid
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage

ENDINGS = (".tif", ".tiff", ".png")
RECORD = "anystar.json"
_JPEG = (".jpg", ".jpeg")
_GREY = ("1", "L", "I", "F")  # names of Pillow for images of one number per pixel


def is_slices(path: Path) -> bool:
    """Whether a folder holds 2D images.

    The first and the last image are checked, because a folder of volumes may also hold a 2D projection. Images in
    colour do not count: :func:`why_none` says so.

    Args:
        path: of a folder; a file gives False.
    """
    images = _images(path) if path.is_dir() else []
    if len(images) < 2:
        return False
    try:
        planes = [_described(image) for image in (images[0], images[-1])]
    except ValueError:
        return False
    return all(len(plane.shape) == 2 and plane.samples == 1 for plane in planes)


def why_none(path: Path) -> str | None:
    """Why a folder of images is no stack of slices: they are JPEG or in colour. None for all other folders.

    Args:
        path: the folder.
    """
    if _is_stack_alone(path, _JPEG):
        return _jpeg_refused(path)
    if not _is_stack_alone(path, ENDINGS):
        return None
    try:
        samples = _described(_images(path)[0]).samples
    except ValueError:
        return None
    if samples == 1:
        return None
    return (
        f"{path} holds images in colour or with transparency ({samples} numbers per pixel); "
        "save them as TIFF or PNG with one number per pixel, such as one channel of them"
    )


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a folder of images, which must have one shape and one number type.

    Args:
        path: the folder.

    Yields:
        The stack of the images, read when its array is indexed.

    Raises:
        ValueError: an image is broken or differs from the first, or the names do not tell one order without gaps.
    """
    grid = slice_grid(_images(path), str(path))
    first = _described(grid.images[0])
    for image in grid.images[1:]:
        other = _described(image)
        if other != first:
            raise ValueError(f"{image} is {other}; the first image of its folder is {first}")
    yield StoredImage(
        array=_Planes(grid, first.shape, first.dtype), dtype=first.dtype, axes=(*grid.axes, "y", "x")
    )


def _jpeg_refused(path: Path) -> str:
    """Why a folder of JPEG images is not read."""
    with _pillow(sorted(image for image in path.iterdir() if image.suffix.lower() in _JPEG)[0]) as image:
        kind = "JPEG images" if image.mode in _GREY else "JPEG images in colour"
    return f"{path} holds {kind}, which are not read; save them as TIFF or PNG with one number per pixel"


@dataclass(frozen=True)
class _Plane:
    """What is read of an image before its pixels.

    Attributes:
        shape: rows and columns; more sizes where the file holds no 2D image.
        dtype: number type.
        samples: numbers per pixel.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    samples: int = 1

    def __str__(self) -> str:
        sizes = (*self.shape, self.samples) if self.samples > 1 else self.shape
        return f"{' x '.join(map(str, sizes))} {self.dtype}"


class _Planes:
    """Images ``[..., H, W]`` of a grid, of which those are read that an index names."""

    def __init__(self, grid: SliceGrid, plane: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._grid, self._plane, self._dtype = grid, plane, dtype
        self.shape = (*grid.shape, *plane)

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        leading = len(self._grid.shape)
        numbers = np.arange(len(self._grid.images)).reshape(self._grid.shape)[index[:leading]]
        chosen = np.atleast_1d(numbers).reshape(-1)
        planes = np.empty((len(chosen), *self._plane), self._dtype)
        for plane, number in zip(planes, chosen, strict=True):
            plane[...] = _pixels(self._grid.images[number])
        array: Shaped[np.ndarray, "..."] = planes.reshape(*np.shape(numbers), *self._plane)
        return array[(slice(None),) * np.ndim(numbers) + index[leading:]]


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as a folder of TIFF images, with the run record in a JSON file.

    Args:
        path: the folder, which must not exist.
        labels: of one volume or of a time series.
        like: whose image names the labels get, where it was read from a folder with one image per image of labels.
        record: what made the labels.
    """
    import tifffile

    leading = labels.shape[:-2]
    names = _names_of(like.path, leading) or _new_names(leading)
    path.mkdir()
    for name, plane in zip(names, labels.reshape(-1, *labels.shape[-2:]), strict=True):
        # Otherwise tifffile takes planes of three or four rows for colours.
        tifffile.imwrite(path / f"{name}.tif", plane, compression="zlib", photometric="minisblack")
    if record is not None:
        (path / RECORD).write_text(record.to_json(indent=2) + "\n", encoding="utf-8")


def _names_of(folder: Path | None, leading: tuple[int, ...]) -> list[str]:
    """Names of the images of a folder, for labels in the order of (t), z.

    Args:
        folder: the source of the labels.
        leading: sizes of the labels along (t), z.

    Returns:
        Nothing where the folder has another number of images, or where their names would not be read as (t), z.
    """
    if folder is None or not is_slices(folder):
        return []
    images = _images(folder)
    if len(leading) == 1:
        return [image.stem for image in images] if len(images) == leading[0] else []
    try:
        grid = slice_grid(images, str(folder))
    except ValueError:  # the images changed after they were read
        return []
    if sorted(grid.axes) != ["t", "z"]:
        return []
    order = np.arange(len(images)).reshape(grid.shape).transpose([grid.axes.index(axis) for axis in "tz"])
    return [grid.images[number].stem for number in order.flat] if order.shape == leading else []


def _new_names(leading: tuple[int, ...]) -> list[str]:
    """Names of images that are read as (t), z."""
    if len(leading) == 1:
        return [f"z{z:05d}" for z in range(leading[0])]
    return [f"t{t:03d}_z{z:05d}" for t, z in np.ndindex(*leading)]


def record_text(path: Path) -> str | None:
    """The text of the run record; None where there is none.

    Args:
        path: the folder.
    """
    return (path / RECORD).read_text(encoding="utf-8") if (path / RECORD).is_file() else None


def _images(path: Path) -> list[Path]:
    """The image files of a folder in the order of the numbers in their names; hidden files are left out."""
    found = [p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file()]
    return sorted((p for p in found if not p.name.startswith(".")), key=lambda image: natural(image.name))


def _is_stack_alone(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether a folder holds nothing but images with one of the endings and names in one order without gaps."""
    found = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    if len(found) < 2 or not all(p.suffix.lower() in endings and p.is_file() for p in found):
        return False
    try:
        slice_grid(found, str(path))
    except ValueError:
        return False
    return True


def _described(path: Path) -> _Plane:
    """Shape, number type and samples of an image file. A TIFF is not decoded for it."""
    if path.suffix.lower() != ".png":
        with tiff.opened(path) as stored:
            pairs = zip(stored.axes, stored.shape, strict=True)
            sizes = {axis: size for axis, size in pairs if size > 1 or axis in "YX"}
            if list(sizes) == ["Y", "X", "S"]:
                return _Plane((sizes["Y"], sizes["X"]), stored.dtype, sizes["S"])
            return _Plane(tuple(sizes.values()) if len(sizes) == 2 else stored.shape, stored.dtype)
    with _pillow(path) as image:
        width, height = image.size
        kind = np.asarray(image.crop((0, 0, 1, 1)))
        return _Plane((height, width), kind.dtype, *kind.shape[2:])


def _pixels(path: Path) -> Shaped[np.ndarray, "h w"]:
    """The pixels of an image file."""
    if path.suffix.lower() != ".png":
        with tiff.opened(path) as stored:
            kept = tuple(slice(None) if axis in "YX" else 0 for axis in stored.axes)
            return np.asarray(stored.array[kept])
    with _pillow(path) as image:
        return np.asarray(image)


@contextmanager
def _pillow(path: Path) -> Iterator[Any]:
    from PIL import Image

    with readable(path, "an image"), Image.open(path) as image:
        yield image
