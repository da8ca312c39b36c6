"""A volume as a folder of 2D images, one per z, in the order of the numbers in their names."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage

ENDINGS = (".tif", ".tiff", ".png")
RECORD = "anystar.json"


def is_slices(path: Path) -> bool:
    """Whether a folder holds 2D images.

    The first and the last image are checked, because a folder of volumes may also hold a 2D projection.
    """
    images = _images(path) if path.is_dir() else []
    if len(images) < 2:
        return False
    try:
        return all(_plane(image).ndim == 2 for image in (images[0], images[-1]))
    except ValueError:
        return False


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a folder of images, which must have one shape and one number type.

    Args:
        path: the folder.

    Yields:
        The stack of the images.

    Raises:
        ValueError: an image is broken or differs from the first.
    """
    images = _images(path)
    first = _plane(images[0])
    check_size((len(images), *first.shape), first.dtype, str(path))
    volume = np.empty((len(images), *first.shape), first.dtype)
    for z, image in enumerate(images):
        plane = _plane(image)
        if plane.shape != first.shape or plane.dtype != first.dtype:
            raise ValueError(
                f"{image} is {plane.shape} {plane.dtype}; the first image of its folder is "
                f"{first.shape} {first.dtype}"
            )
        volume[z] = plane
    yield StoredImage(array=volume, dtype=volume.dtype, axes=("z", "y", "x"))


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
    """The text of the run record; None where there is none."""
    return (path / RECORD).read_text() if (path / RECORD).is_file() else None


def _images(path: Path) -> list[Path]:
    """The image files of a folder in the order of the numbers in their names."""

    def order(image: Path) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", image.name)]

    return sorted((p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file()), key=order)


def _plane(path: Path) -> Shaped[np.ndarray, "h w"] | Shaped[np.ndarray, "h w c"]:
    """The pixels of an image file."""
    with readable(path, "an image"):
        if path.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(path) as image:
                return np.asarray(image)
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if len(series.shape) != 2:  # checked before reading, because it may be a large volume
                raise ValueError(f"{path} is not a 2D image")
            plane: Shaped[np.ndarray, "h w"] = series.asarray()
            return plane
