"""NIfTI: arrays are x-first on disk and z-first here; affine and header travel with the scan."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan, readable
from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import micrometres

_AXES = ("x", "y", "z", "t", "c")  # the fifth dimension holds vectors


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the image. A header without a unit means millimetres, as other readers take it."""
    import nibabel

    with readable(path, "NIfTI"):
        image = nibabel.load(path)
        shape = tuple(image.shape)
        if len(shape) > len(_AXES):
            raise ValueError(f"{path} has {len(shape)} dimensions; at most {len(_AXES)} are understood")
        if image.get_data_dtype().kind not in "uif":
            raise ValueError(f"{path} holds {image.get_data_dtype()} voxels; one number per voxel is wanted")
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)  # nibabel computes that in float64
        unit = image.header.get_xyzt_units()[0]
        unit = "mm" if unit == "unknown" else unit
        yield StoredImage(
            array=image.dataobj,
            dtype=np.dtype(np.float64) if scaled else image.get_data_dtype(),
            axes=_AXES[: len(shape)],
            sizes=dict(zip("xyz", map(float, image.header.get_zooms()[:3]), strict=False)),
            units=dict.fromkeys("xyz", unit),
            affine=_affine(image, (micrometres(unit) or 1000) / 1000),
            style=image,
        )


def _affine(image: Any, millimetres: float) -> NDArray[Any] | None:
    """Voxel index to millimetres; None where the header gives no place, or one that is no volume."""
    if not (image.header["qform_code"] > 0 or image.header["sform_code"] > 0):
        return None  # what nibabel gives then is a guess
    affine: NDArray[Any] = np.diag([millimetres] * 3 + [1.0]) @ image.affine
    return affine if np.isfinite(affine).all() and np.linalg.det(affine) else None


def write(path: Path, labels: NDArray[Any], like: Scan, record: RunRecord | None) -> None:
    """Write labels with the affine, codes and units of the scan, or its place or spacing where it was no NIfTI."""
    import nibabel

    source = like.geometry if isinstance(like.geometry, nibabel.nifti1.Nifti1Pair) else None
    data = np.ascontiguousarray(labels.transpose(range(labels.ndim)[::-1]))
    if source is not None:
        kind = nibabel.Nifti2Image if isinstance(source, nibabel.Nifti2Image) else nibabel.Nifti1Image
        image = kind(data, source.affine, source.header.copy())
        image.header.extensions.clear()
    elif like.affine is not None:
        image = nibabel.Nifti1Image(data, like.affine)
        image.header.set_xyzt_units("mm")
    else:
        spacing = like.spacing or (1.0, 1.0, 1.0)
        # Micrometres as millimetres, because most viewers ignore the unit field.
        steps = [step / 1000 if like.unit else step for step in spacing[::-1]]
        image = nibabel.Nifti1Image(data, np.diag([*steps, 1.0]))
        image.header.set_xyzt_units("mm" if like.unit else "unknown")
    image.set_data_dtype(data.dtype)
    image.header.set_slope_inter(1, 0)
    image.header["cal_max"] = image.header["cal_min"] = 0
    if record is not None:
        diameters = " ".join(f"{diameter:g}" for diameter in record.diameters)
        short = f"anystar prob {record.prob_thresh} nms {record.nms_thresh} d {diameters}"
        image.header["descrip"] = short.encode()[:79]
        text = record.to_json().encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text))
    nibabel.save(image, path)
