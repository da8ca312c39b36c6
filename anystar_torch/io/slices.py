"""A volume as a folder of 2D images, one per z, in the order of the numbers in their names."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size, readable
from anystar_torch.io.stored import StoredImage

ENDINGS = (".tif", ".tiff", ".png")
RECORD = "anystar.json"


def is_slices(path: Path) -> bool:
    """Whether a folder holds 2D images, by its first and last: a projection may lie among volumes."""
    images = _images(path) if path.is_dir() else []
    if len(images) < 2:
        return False
    try:
        return all(_plane(image).ndim == 2 for image in (images[0], images[-1]))
    except ValueError:
        return False


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the stack of the images; they must be of one shape and number type."""
    images = _images(path)
    first = _plane(images[0])
    check_size((len(images), *first.shape), first.dtype, str(path))
    volume = np.empty((len(images), *first.shape), first.dtype)
    for z, image in enumerate(images):
        plane = _plane(image)
        if plane.shape != first.shape or plane.dtype != first.dtype:
            raise ValueError(
                f"{image} is {plane.shape} {plane.dtype}, and the first image of its folder {first.shape} {first.dtype}"
            )
        volume[z] = plane
    yield StoredImage(array=volume, dtype=volume.dtype, axes=("z", "y", "x"))


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write labels as a folder of TIFF images, named as those they come from; what made them stands beside them."""
    import tifffile

    names = [image.stem for image in _images(like.path)] if like.path and is_slices(like.path) else []
    if len(names) != len(labels):
        names = [f"z{z:05d}" for z in range(len(labels))]
    path.mkdir()
    for name, plane in zip(names, labels, strict=True):
        tifffile.imwrite(path / f"{name}.tif", plane, compression="zlib")
    if record is not None:
        (path / RECORD).write_text(record.to_json(indent=2) + "\n")


def _images(path: Path) -> list[Path]:
    def order(image: Path) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", image.name)]

    return sorted((p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file()), key=order)


def _plane(path: Path) -> NDArray[Any]:
    with readable(path, "an image"):
        if path.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(path) as image:
                return np.asarray(image)
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if len(series.shape) != 2:  # looked at before it is read: it may be a large volume
                raise ValueError(f"{path} is no 2D image")
            plane: NDArray[Any] = series.asarray()
            return plane
