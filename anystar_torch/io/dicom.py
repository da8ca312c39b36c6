"""DICOM series: one volume from a folder of slices, or from one of its files; slices are sorted by position.

SimpleITK, which TorchIO reads DICOM with, decodes the files. Its reader of series does not check the distances of the
slices, so this module does: a gantry tilt and missing slices are refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Integer, Shaped

from anystar_torch.io.dicom_files import Image, image_of, images_in
from anystar_torch.io.reading import readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage

_SERIES, _POSITION, _ORIENTATION = "0020|000e", "0020|0032", "0020|0037"
_STEPS = ("0028|0030", "0018|1164")  # PixelSpacing, ImagerPixelSpacing
_UNSIZED = (
    "{} has no PixelSpacing (0028,0030) and no ImagerPixelSpacing (0018,1164), so its voxel size is unknown; set "
    "spacing= (z, y, x in micrometres), or convert it to NIfTI with its voxel size"
)
_FRAMES, _SAMPLES = "0028|0008", "0028|0002"
_SAME = 1e-3  # of directions and voxel sizes: DICOM stores them as decimal text
_UNEVEN = 0.02  # of the distance between slices
_TILTED = 0.02  # shift in the plane of a slice from one to the next, of their distance
_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM's axes point left, posterior, superior


@dataclass(frozen=True)
class Slice:
    """One file of a series.

    Attributes:
        path: the file.
        position: of the middle of its first voxel, millimetres in LPS.
        rows: unit vector along a row, in LPS.
        columns: unit vector along a column, in LPS.
        spacing: voxel size (x, y) in millimetres; None where the file has none.
        size: voxels (x, y).
        dtype: number type of its voxels after the rescaling that the file asks for.
    """

    path: Path
    position: Float[np.ndarray, "3"]
    rows: Float[np.ndarray, "3"]
    columns: Float[np.ndarray, "3"]
    spacing: tuple[float, float] | None
    size: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """Unit vector across the slice."""
        across: Float[np.ndarray, "3"] = np.cross(self.rows, self.columns)
        return across


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Yield the series of a folder, or the one that a file belongs to. Planes are read when they are indexed.

    Args:
        path: a folder of slices, or one file of the series.

    Raises:
        ValueError: several series, slices of different sizes or directions, two slices at one position, missing slices,
            or a gantry tilt. A series without a voxel size is refused by who needs it (``StoredImage.unsized``).
    """
    with readable(path, "DICOM"):
        slices = _sorted(_series(path), path)
        first, last = slices[0], slices[-1]
        step = (last.position - first.position) / (len(slices) - 1)
        sizes: dict[str, float] = {}
        affine, unsized = None, _UNSIZED.format(path)
        if first.spacing is not None:
            x, y = first.spacing
            sizes, unsized = {"x": x, "y": y, "z": float(np.linalg.norm(step))}, ""
            affine = np.eye(4)
            columns = [first.rows * x, first.columns * y, step, first.position]
            affine[:3] = np.stack(columns, axis=1) * _RAS[:, None]
        yield StoredImage(
            array=_Planes(slices),
            dtype=np.result_type(*{one.dtype for one in slices}),
            axes=("z", "y", "x"),
            sizes=sizes,
            unsized=unsized,
            units=dict.fromkeys("xyz", "mm"),
            affine=affine,
        )


class _Planes:
    """The planes of a series as an array ``[D, H, W]`` that is read when it is indexed."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self.slices = slices
        self.shape = (len(slices), slices[0].size[1], slices[0].size[0])
        self.dtype = np.result_type(*{one.dtype for one in slices})

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        chosen = np.arange(len(self.slices))[index[0]]
        planes = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        for plane, number in zip(planes, chosen.reshape(-1), strict=True):
            plane[...] = _pixels(self.slices[number].path)
        cut: Shaped[np.ndarray, "..."] = planes.reshape(*chosen.shape, *self.shape[1:])[
            (slice(None),) * chosen.ndim + tuple(index[1:])
        ]
        return cut


def _series(path: Path) -> list[Slice]:
    """The slices of the series, in any order."""
    folder = path if path.is_dir() else path.parent
    wanted = None if path.is_dir() else image_of(path).tags.get(_SERIES, "")
    found: dict[str, list[Image]] = {}
    for image in images_in(folder):
        name = image.tags.get(_SERIES, "")
        if wanted is None or name == wanted:
            found.setdefault(name, []).append(image)
    if len(found) > 1:
        examples = ", ".join(images[0].path.name for images in found.values())
        raise ValueError(
            f"{path} holds {len(found)} DICOM series; name one file of the series that is meant (such as {examples})"
        )
    slices = [_slice(image) for image in next(iter(found.values()), [])]
    if len(slices) < 2:
        raise ValueError(f"{path} is one DICOM slice, a 2D image; a volume needs a series of slices")
    return slices


def _pixels(path: Path) -> Shaped[np.ndarray, "h w"]:
    import SimpleITK

    try:
        pixels: Shaped[np.ndarray, "..."] = SimpleITK.GetArrayFromImage(image_of(path).reader.Execute())
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as DICOM: its pixels are damaged") from error
    return pixels.reshape(pixels.shape[-2:])


def _slice(image: Image) -> Slice:
    import SimpleITK

    path, reader, tags = image
    if int(tags.get(_FRAMES) or 1) > 1:
        raise ValueError(f"{path} is a DICOM file of several frames, which is not read; convert it to NIfTI")
    if int(tags.get(_SAMPLES) or 1) > 1:
        raise ValueError(f"{path} is a DICOM image in colour; one number per voxel is expected")
    position, orientation = (_numbers(tags.get(name)) for name in (_POSITION, _ORIENTATION))
    if len(position) != 3 or len(orientation) != 6:
        raise ValueError(f"{path} is a DICOM image without a position in space, so slices cannot be sorted")
    width, height, *_ = reader.GetSize()
    # ITK gives a distance of 1 where the file has none, so the distances are read from the tags.
    given = [_numbers(tags.get(name)) for name in _STEPS]
    steps = [both for both in given if len(both) == 2 and (both > 0).all()]
    spacing = (float(steps[0][1]), float(steps[0][0])) if steps else None  # the tags give (y, x)
    dtype = SimpleITK.GetArrayViewFromImage(SimpleITK.Image(1, 1, reader.GetPixelID())).dtype
    rows, columns = orientation[:3], orientation[3:]
    return Slice(path, position, rows, columns, spacing, (width, height), dtype)


def _numbers(text: str | None) -> Float[np.ndarray, " n"]:
    try:
        return np.array([float(part) for part in (text or "").split("\\")])
    except ValueError:
        return np.empty(0)


def _same_size(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Whether two slices have the same voxel size, or both have none."""
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, rtol=_SAME)


def _sorted(slices: list[Slice], path: Path) -> list[Slice]:
    """The slices by their position along the normal, checked to be a volume of equal steps."""

    def refuse(why: str) -> NoReturn:
        raise ValueError(f"{path} is no regular DICOM volume: {why}")

    first = slices[0]
    if not np.isclose(np.linalg.norm(first.normal), 1, atol=_SAME):
        refuse("the directions of its rows and columns are not perpendicular")
    for other in slices:
        if other.size != first.size:
            refuse(f"{other.path.name} has {other.size} voxels, and {first.path.name} {first.size}")
        turned = max(np.abs(other.rows - first.rows).max(), np.abs(other.columns - first.columns).max())
        if turned > _SAME or not _same_size(other.spacing, first.spacing):
            refuse(f"{other.path.name} has another direction or voxel size than {first.path.name}")
    ordered = sorted(slices, key=lambda one: float(one.position @ first.normal))
    heights = np.array([float(one.position @ first.normal) for one in ordered])
    steps = np.diff(heights)
    usual = float(np.median(steps))
    same = int(np.argmin(steps))
    if steps[same] < 0.1 * max(usual, 1e-6):
        refuse(
            f"{ordered[same].path.name} and {ordered[same + 1].path.name} lie at one position; "
            "give a folder with one time point of one series"
        )
    gaps = np.flatnonzero(np.abs(steps - steps.min()) > _UNEVEN * steps.min())
    if gaps.size:
        widest = int(np.argmax(steps))
        refuse(
            f"slices are {steps.min():.4g} mm apart, but {steps[widest]:.4g} mm between "
            f"{ordered[widest].path.name} and {ordered[widest + 1].path.name}: slices are missing"
        )
    shifts = np.diff([one.position for one in ordered], axis=0) - steps[:, None] * first.normal
    tilt = float(np.linalg.norm(shifts, axis=1).max() / usual)
    if tilt > _TILTED:
        refuse(
            f"its gantry is tilted by {np.degrees(np.arctan(tilt)):.1f} degrees (each slice is shifted in its plane); "
            "resample it to a regular grid first"
        )
    return ordered


def record_text(path: Path) -> str | None:
    """None: this package writes no DICOM.

    Args:
        path: not used.
    """
    return None


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Refuse to write: labels of DICOM series are written as another format.

    Args:
        path: named in the error.
        labels: not used.
        like: not used.
        record: not used.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"cannot write {path}: DICOM is only read; name it .nii.gz, .nrrd or .mha")
