"""NRRD and MetaImage through SimpleITK, which TorchIO brings; origin and direction travel with the scan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.scan import Scan, check_size, checked_spacing, readable, to_zyx

_SIZES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}


def read(path: Path, *, channel: int | None, frame: int | None) -> Scan:
    """Read one volume; spacing is in millimetres, as ITK takes it."""
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
        axes = "TZYX"[-len(size) :] + ("C" if image.GetNumberOfComponentsPerPixel() > 1 else "")
        volume = to_zyx(array, axes, channel=channel, frame=frame, where=str(path))
    spacing, unit = checked_spacing(tuple(image.GetSpacing()[:3])[::-1], "mm")
    geometry = (
        (image.GetSpacing()[:3], image.GetOrigin()[:3], image.GetDirection()) if len(size) == 3 else None
    )
    return Scan(np.asarray(volume), spacing, unit, path, geometry)


def write(path: Path, labels: NDArray[Any], like: Scan, metadata: dict[str, Any]) -> None:
    """Write labels with spacing, origin and direction of the scan; what made them stands in the header."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels, isVector=False)
    if isinstance(like.geometry, tuple) and len(like.geometry) == 3 and labels.ndim == 3:
        spacing, origin, direction = like.geometry
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
    elif like.spacing is not None and labels.ndim == 3:
        image.SetSpacing([step / 1000 if like.unit else step for step in like.spacing[::-1]])
    image.SetMetaData("anystar", json.dumps(metadata))
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[-1]) from error
