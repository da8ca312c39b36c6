"""NIfTI (.nii, .nii.gz). Arrays are x-first in the file and z-first here; place, codes and units are kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from anystar_torch.io.placement import sized_affine
from anystar_torch.io.reading import readable
from anystar_torch.io.run_record import RunRecord, is_record
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import micrometres

_RATIOS = "voxel size without a unit"  # in the description: the format has no unit for it
_AXES = ("x", "y", "z", "t", "c")  # the fifth dimension holds vectors
_LONGEST = 32767  # voxels of an axis that NIfTI-1 can express


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a file. A header without a unit means millimetres, as in other readers.

    Args:
        path: the file.

    Yields:
        The image.

    Raises:
        ValueError: the file is broken, or its voxels are not single numbers.
    """
    import nibabel

    with readable(path, "NIfTI"):
        image = nibabel.load(path)
        shape = tuple(image.shape)
        if len(shape) > len(_AXES):
            raise ValueError(f"{path} has {len(shape)} dimensions; expected at most {len(_AXES)}")
        if image.get_data_dtype().kind not in "uif":
            raise ValueError(f"{path} holds {image.get_data_dtype()} voxels; expected one number per voxel")
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)  # nibabel computes that in float64
        unit = image.header.get_xyzt_units()[0]
        sized = unit != "unknown" or _calibrated(image)
        ratios = _RATIOS.encode() in image.header["descrip"].tobytes()
        unit = "mm" if unit == "unknown" and not ratios else unit
        yield StoredImage(
            array=image.dataobj,
            dtype=np.dtype(np.float64) if scaled else image.get_data_dtype(),
            axes=_AXES[: len(shape)],
            sizes=dict(zip("xyz", _sizes(image), strict=False)) if sized else {},
            units=dict.fromkeys("xyz", unit),
            affine=None if ratios else _affine(image, _millimetres(image)),
            style=image,
        )


def _calibrated(image: Any) -> bool:
    """Whether a header without a unit gives a voxel size: a place, or sizes that are not the 1 of an empty header."""
    placed = image.header["qform_code"] > 0 or image.header["sform_code"] > 0
    return bool(placed or any(zoom != 1 for zoom in image.header.get_zooms()[:3]))


def _sizes(image: Any) -> list[float]:
    """Voxel sizes (x, y, z) in the unit of the header.

    They are those of the affine where the header has one that disagrees with ``pixdim``: the affine places the voxels.
    """
    zooms = [float(zoom) for zoom in image.header.get_zooms()[:3]]
    if not image.header["sform_code"] > 0:
        return zooms  # a qform is made of pixdim
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0).tolist()
    usable = np.isfinite(lengths).all() and min(lengths) > 0
    agree = np.allclose(zooms, lengths[: len(zooms)], rtol=1e-3)
    return lengths if usable and not agree else zooms


def _affine(image: Any, millimetres: float) -> Float[np.ndarray, "4 4"] | None:
    """The matrix from voxel index to millimetres; None where the header has none or a singular one.

    Args:
        image: as nibabel read it.
        millimetres: per unit of the header.
    """
    if not (image.header["qform_code"] > 0 or image.header["sform_code"] > 0):
        return None  # nibabel's affine is a guess then
    affine: Float[np.ndarray, "4 4"] = np.diag([millimetres] * 3 + [1.0]) @ image.affine
    return affine if np.isfinite(affine).all() and np.linalg.det(affine) else None


def record_text(path: Path) -> str | None:
    """The text of the run record, which is the last such comment of the header; None where there is none.

    Args:
        path: the file.
    """
    import nibabel

    comments = [e.get_content() for e in nibabel.load(path).header.extensions if e.get_code() == 6]
    texts = [str(c.decode() if isinstance(c, bytes) else c).rstrip("\0 ") for c in comments]
    return next((text for text in reversed(texts) if text.startswith("{") and is_record(text)), None)


def write(
    path: Path, array: Shaped[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write a volume, with the run record as a comment in the header.

    NIfTI-2 is written where the source is NIfTI-2, and where an axis is too long for NIfTI-1.

    Args:
        path: the file.
        array: labels of one volume or of a time series, or an image.
        like: whose place and spacing are written; where it was read from NIfTI, with its codes and units.
        record: what made the labels.
    """
    import nibabel

    source = like.geometry if isinstance(like.geometry, nibabel.nifti1.Nifti1Pair) else None
    data = np.ascontiguousarray(array.transpose(range(array.ndim)[::-1]))
    second = isinstance(source, nibabel.Nifti2Image) or max(array.shape) > _LONGEST
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    affine = sized_affine(like)
    if source is not None and affine is not None and _affine(source, 1.0) is not None:
        image = _at_place_of(source, kind(data, source.affine, source.header.copy()), affine)
    elif affine is not None:
        image = kind(data, affine)
        image.header.set_xyzt_units("mm")
    elif source is not None and like.spacing is not None and like.unit:
        image = _without_place(kind(data, None, source.header.copy()), like.spacing)
    else:
        spacing = like.spacing or (1.0, 1.0, 1.0)
        # Micrometres are written as millimetres, because most viewers ignore the unit.
        steps = [step / 1000 if like.unit else step for step in spacing[::-1]]
        # Without an affine both codes are 0: the header says nothing of size and place.
        image = kind(data, None if like.spacing is None else np.diag([*steps, 1.0]))
        image.header.set_xyzt_units("mm" if like.unit else "unknown")
    image.header.extensions.clear()
    image.set_data_dtype(data.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_max"] = image.header["cal_min"] = 0
    if record is not None:
        _add_record(image, record)
    if affine is None and like.spacing is not None and not like.unit:
        image.header["descrip"] = _RATIOS.encode()
    nibabel.save(image, path)


def _at_place_of(source: Any, image: Any, affine: Float[np.ndarray, "4 4"]) -> Any:
    """The image with an affine in the codes and units of the file that was read.

    Args:
        source: the file, with a place.
        image: the result, with the affine and the header of the source.
        affine: from voxel index to millimetres; it may have permuted or scaled columns.
    """
    scaled = np.diag([1 / _millimetres(source)] * 3 + [1.0]) @ affine
    change = np.linalg.inv(source.affine) @ scaled
    if np.allclose(change, np.eye(4), atol=1e-6):
        return image
    sform, qform = (int(source.header[name]) for name in ("sform_code", "qform_code"))
    # A header may hold two places, such as that of the scanner and that of a template. Both get the same change.
    image.set_qform((source.get_qform() if qform else source.affine) @ change, qform)
    if sform:
        image.set_sform(source.affine @ change, sform)
    return image


def _without_place(image: Any, spacing: Sequence[float]) -> Any:
    """The image with a voxel size in the unit of its header, and no place, as in the file that was read.

    Args:
        image: the result, with the header of the file and without an affine.
        spacing: (z, y, x) in micrometres.
    """
    steps = [step / 1000 / _millimetres(image) for step in spacing[::-1]]
    header = image.header
    header["qform_code"] = header["sform_code"] = 0
    header.set_data_shape(image.shape)
    header.set_zooms([*steps, *header.get_zooms()[3:]])
    if header.get_xyzt_units()[0] == "unknown":  # sizes of 1 without a unit would count as none
        header.set_xyzt_units("mm", header.get_xyzt_units()[1])
    return image


def _millimetres(image: Any) -> float:
    """Millimetres per unit of the header; a header without a unit means millimetres."""
    return (micrometres(image.header.get_xyzt_units()[0]) or 1000) / 1000


def _add_record(image: Any, record: RunRecord) -> None:
    """Put the record into a comment, and its main settings into the description of 79 characters."""
    import nibabel

    diameters = " ".join(f"{diameter:g}" for diameter in record.diameters)
    short = f"anystar prob {record.prob_thresh} nms {record.nms_thresh} d {diameters}"
    image.header["descrip"] = short.encode()[:79]
    comment = nibabel.nifti1.Nifti1Extension("comment", record.to_json().encode())
    image.header.extensions.append(comment)
