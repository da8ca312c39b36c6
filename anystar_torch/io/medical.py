"""NRRD and MetaImage through TorchIO and the ITK behind it; origin and direction belong to the image.

TorchIO reads headers and converts places. Its ``Image.data`` is not used: it turns 16-bit integers into 32-bit ones,
which doubles the memory, it takes time points for channels, and it has no other unit than the millimetre.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from anystar_torch.io.itk_headers import check_data_file, header_units, is_nrrd, rewritten
from anystar_torch.io.placement import sized_affine
from anystar_torch.io.reading import check_size, readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import micrometres
from anystar_torch.system.errors import last_line

_KEY = "anystar"
_NO_LENGTH = "pixel"  # the unit of sizes of which only the ratios are known
_SIZES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}


@dataclass(frozen=True)
class Units:
    """Style of an NRRD file in other units than millimetres: labels are written in the same numbers.

    Attributes:
        name: of the unit, as the header says it.
        millimetres: of one unit.
    """

    name: str
    millimetres: float


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the image, with the unit that the header gives; without one, sizes are millimetres.

    Args:
        path: the file, .nrrd, .nhdr, .mha or .mhd.

    Raises:
        ValueError: the file is broken, or larger than free memory.
    """
    with readable(path, "NRRD or MetaImage"):
        import SimpleITK
        from torchio.data.io import get_ras_affine_from_sitk

        reader = _reader(path)
        size = reader.GetSize()
        shape = (*size, reader.GetNumberOfComponents())
        check_size(shape, f"V{itemsize(reader)}", str(path))
        check_data_file(path, int(np.prod(shape, dtype=np.int64)) * itemsize(reader))
        said = header_units(path)
        array = SimpleITK.GetArrayFromImage(reader.Execute())
        axes = "tzyx"[-len(size) :] + ("c" if reader.GetNumberOfComponents() > 1 else "")
        factor = _millimetres(said.units)
        affine = get_ras_affine_from_sitk(reader) if said.sized and len(size) > 2 and factor else None
        if affine is not None and factor:
            affine[:3] *= factor
        yield StoredImage(
            array=array,
            dtype=array.dtype,
            axes=tuple(axes),
            sizes=dict(zip("xyz", reader.GetSpacing(), strict=False)) if said.sized else {},
            units=dict(zip("xyz", said.units, strict=True)),
            affine=affine,
            style=Units(said.units[0], factor) if factor and factor != 1 else None,
        )


def _millimetres(units: tuple[str, str, str]) -> float | None:
    """Millimetres of one unit; None where it is no length, or axes have different ones."""
    size = micrometres(units[0])
    return None if size is None or len(set(units)) > 1 else size / 1000


def itemsize(reader: Any) -> int:
    """Bytes of a number in the image of an ITK reader.

    Args:
        reader: an ITK reader that has read the header.

    Returns:
        8 where ITK's name of the number type tells no size.
    """
    import SimpleITK

    kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    return next((size for word, size in _SIZES.items() if word in kind), 8)


def _reader(path: Path) -> Any:
    """An ITK reader that has read the header."""
    import SimpleITK
    from torchio.data.io import get_reader

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = get_reader(path, read=False)
    # Without this line ITK finds no format for an ending in upper case.
    reader.SetImageIO("NrrdImageIO" if is_nrrd(path) else "MetaImageIO")
    reader.ReadImageInformation()
    return reader


def record_text(path: Path) -> str | None:
    """The text of the run record in the header; None where there is none.

    Args:
        path: the file.
    """
    reader = _reader(path)
    return str(reader.GetMetaData(_KEY)) if reader.HasMetaDataKey(_KEY) else None


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels, with the run record in the header.

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: whose spacing, origin and direction the labels get, in the units of its file where both are NRRD.
        record: what made the labels.
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels, isVector=False)
    nrrd = is_nrrd(path)
    units = like.geometry if nrrd and isinstance(like.geometry, Units) else None
    affine, millimetres = sized_affine(like), 1.0 if units is None else units.millimetres
    if affine is not None:
        _place(image, affine, millimetres)
    elif like.spacing is not None:
        steps = [step / 1000 / millimetres if like.unit else step for step in like.spacing[::-1]]
        image.SetSpacing([*steps, *[1.0] * (labels.ndim - 3)])
    if record is not None:
        image.SetMetaData(_KEY, record.to_json())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(last_line(error)) from error
    sized = affine is not None or like.spacing is not None
    ratios = affine is None and not like.unit
    unit = _NO_LENGTH if ratios else None if units is None else units.name
    if unit is not None or not sized:
        path.write_bytes(rewritten(path.read_bytes(), unit, sized))


def _place(image: Any, affine: Float[np.ndarray, "4 4"], millimetres: float) -> None:
    """Set spacing, origin and direction of an ITK image; a time axis gets a step of 1.

    Args:
        image: of three dimensions, or four with time.
        affine: from voxel index to millimetres in RAS.
        millimetres: of one unit of the image.
    """
    from torchio.data.io import get_sitk_metadata_from_ras_affine

    scaled = affine.astype(np.float64)
    scaled[:3] /= millimetres
    origin, spacing, direction = get_sitk_metadata_from_ras_affine(scaled)
    time = image.GetDimension() - 3
    matrix = np.eye(3 + time)
    matrix[:3, :3] = np.reshape(direction, (3, 3))
    image.SetSpacing([*map(float, spacing), *[1.0] * time])
    image.SetOrigin([*map(float, origin), *[0.0] * time])
    image.SetDirection(matrix.reshape(-1).tolist())
