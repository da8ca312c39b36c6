"""NRRD and MetaImage, read and written by SimpleITK with spacing, origin and direction."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.system.errors import last_line

_KEY = "anystar"  # of the run record in the header
_SIZES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}
_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes point left, posterior, superior; its own inverse


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a file. ITK takes voxel sizes for millimetres.

    Args:
        path: the file.

    Yields:
        The image.

    Raises:
        ValueError: the file is broken, or larger than free memory.
    """
    import SimpleITK

    with readable(path, "NRRD or MetaImage"):
        reader = _reader(path)
        size = reader.GetSize()
        kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
        itemsize = next((n for word, n in _SIZES.items() if word in kind), 8)
        check_size((*size, reader.GetNumberOfComponents()), f"V{itemsize}", str(path))
        image = reader.Execute()
        array = SimpleITK.GetArrayFromImage(image)
        axes = "tzyx"[-len(size) :] + ("c" if image.GetNumberOfComponentsPerPixel() > 1 else "")
        yield StoredImage(
            array=array,
            dtype=array.dtype,
            axes=tuple(axes),
            sizes=dict(zip("xyz", image.GetSpacing(), strict=False)),
            units=dict.fromkeys("xyz", "mm"),
            affine=_affine(image),
        )


def _reader(path: Path) -> Any:
    """ITK's reader after it has read the header."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    # Without this line ITK finds no format for an ending in upper case.
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
    reader.ReadImageInformation()
    return reader


def record_text(path: Path) -> str | None:
    """The text of the run record in the header; None where there is none."""
    reader = _reader(path)
    return str(reader.GetMetaData(_KEY)) if reader.HasMetaDataKey(_KEY) else None


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels, with the run record in the header.

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: whose spacing, origin and direction the labels get.
        record: what made the labels.
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels, isVector=False)
    time = labels.ndim - 3
    if like.affine is not None:
        lps = _RAS_LPS @ like.affine
        steps = np.linalg.norm(lps[:3, :3], axis=0)
        direction = np.eye(labels.ndim)
        direction[:3, :3] = lps[:3, :3] / steps
        image.SetSpacing([*steps.tolist(), *[1.0] * time])
        image.SetOrigin([*lps[:3, 3].tolist(), *[0.0] * time])
        image.SetDirection(direction.reshape(-1).tolist())
    elif like.spacing is not None:
        millimetres = [step / 1000 if like.unit else step for step in like.spacing[::-1]]
        image.SetSpacing([*millimetres, *[1.0] * time])
    if record is not None:
        image.SetMetaData(_KEY, record.to_json())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(last_line(error)) from error


def _affine(image: Any) -> Float[np.ndarray, "4 4"]:
    """The matrix from voxel index (x, y, z) to millimetres in RAS, without the time axis."""
    affine = np.eye(4)
    dimensions = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3]
    affine[:3, :3] = direction * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    placed: Float[np.ndarray, "4 4"] = _RAS_LPS @ affine
    return placed
