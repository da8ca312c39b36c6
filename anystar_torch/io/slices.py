"""A volume as a folder of 2D images, one per z, in the order of the numbers in their names."""

from collections.abc import Iterator
from contextlib import contextmanager
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


def is_slices(path: Path) -> bool:
    """Whether a folder holds 2D images.

    The first and the last image are checked, because a folder of volumes may also hold a 2D projection.

    Args:
        path: of a folder; a file gives False.
    """
    images = _images(path) if path.is_dir() else []
    if len(images) < 2:
        return False
    try:
        return all(len(_described(image)[0]) == 2 for image in (images[0], images[-1]))
    except ValueError:
        return False


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
        shape, dtype = _described(image)
        if (shape, dtype) != first:
            told = " x ".join(map(str, shape)), " x ".join(map(str, first[0]))
            raise ValueError(
                f"{image} is {told[0]} {dtype}; the first image of its folder is {told[1]} {first[1]}"
            )
    yield StoredImage(array=_Planes(grid, *first), dtype=first[1], axes=(*grid.axes, "y", "x"))


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
    path: Path, labels: Integer[np.ndarray, "d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as a folder of TIFF images, with the run record in a JSON file.

    Args:
        path: the folder, which must not exist.
        labels: of one volume.
        like: whose image names the labels get, where it was read from a folder with as many images.
        record: what made the labels.
    """
    import tifffile

    names = [image.stem for image in _images(like.path)] if like.path and is_slices(like.path) else []
    if len(names) != len(labels):
        names = [f"z{z:05d}" for z in range(len(labels))]
    path.mkdir()
    for name, plane in zip(names, labels, strict=True):
        tifffile.imwrite(path / f"{name}.tif", plane, compression="zlib")
    if record is not None:
        (path / RECORD).write_text(record.to_json(indent=2) + "\n")


def record_text(path: Path) -> str | None:
    """The text of the run record; None where there is none.

    Args:
        path: the folder.
    """
    return (path / RECORD).read_text() if (path / RECORD).is_file() else None


def _images(path: Path) -> list[Path]:
    """The image files of a folder in the order of the numbers in their names; hidden files are left out."""
    found = [p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file()]
    return sorted((p for p in found if not p.name.startswith(".")), key=lambda image: natural(image.name))


def _described(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and number type of an image file, which is not decoded."""
    if path.suffix.lower() != ".png":
        with tiff.opened(path) as stored:
            sizes = [n for n, axis in zip(stored.shape, stored.axes, strict=True) if n > 1 or axis in "YX"]
            if len(sizes) == 2:
                return tuple(sizes), stored.dtype
            return stored.shape, stored.dtype
    with _opened_png(path) as image:
        width, height = image.size
        kind = np.asarray(image.crop((0, 0, 1, 1)))
        return (height, width, *kind.shape[2:]), kind.dtype


def _pixels(path: Path) -> Shaped[np.ndarray, "h w"]:
    """The pixels of an image file."""
    if path.suffix.lower() != ".png":
        with tiff.opened(path) as stored:
            kept = tuple(slice(None) if axis in "YX" else 0 for axis in stored.axes)
            return np.asarray(stored.array[kept])
    with _opened_png(path) as image:
        return np.asarray(image)


@contextmanager
def _opened_png(path: Path) -> Iterator[Any]:
    from PIL import Image

    with readable(path, "an image"), Image.open(path) as image:
        yield image
