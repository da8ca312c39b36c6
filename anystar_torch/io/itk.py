"""NRRD and MetaImage through SimpleITK, which TorchIO brings; origin and direction travel with the scan."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, check_size, readable
from anystar_torch.io.stored import StoredImage

_SIZES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}
_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes point left, posterior, superior; its own inverse


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the image; sizes are in millimetres, as ITK takes them."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    with readable(path, "NRRD or MetaImage"):
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        # By itself ITK finds no format from an ending in upper case.
        reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
        reader.ReadImageInformation()
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


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write labels with spacing, origin and direction of the scan; what made them stands in the header."""
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
        image.SetSpacing(
            [*(step / 1000 if like.unit else step for step in like.spacing[::-1]), *[1.0] * time]
        )
    if record is not None:
        image.SetMetaData("anystar", record.to_json())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[-1]) from error


def _affine(image: Any) -> NDArray[Any]:
    """Voxel index to RAS of an image; of one with time, its part in space."""
    affine = np.eye(4)
    dimensions = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3]
    affine[:3, :3] = direction * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    placed: NDArray[Any] = _RAS_LPS @ affine
    return placed
