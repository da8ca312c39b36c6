"""The real volume of a report, and its labels."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from anystar_torch import io
from anystar_torch.training.volume_files import (
    KEYS,
    VolumeFiles,
    check_diameter,
    check_keys,
    check_measurable,
    choosing,
)

_KEY = re.compile(rf"(?<![\w/.-])((?:truth_)?(?:{'|'.join(KEYS)}))(?==| must be)")


class RealVolume(NamedTuple):
    """A real volume that a report segments.

    Attributes:
        path: of the image.
        scan: the image.
        truth: labels ``[D, H, W]``; None where there are none.
    """

    path: str
    scan: io.SpatialImage
    truth: Int32[np.ndarray, "d h w"] | None


def real_volume(
    image: str | None,
    truth: str | None,
    spacing: Sequence[float | int] | None,
    diameter: float | int | str | None,
    choice: Mapping[str, Any],
) -> RealVolume | None:
    """Read the real volume of a report; None where no image is given.

    Args:
        image: file or folder of the volume.
        truth: file or folder of its labels; None if there are none.
        spacing: voxel size (z, y, x) in micrometres; None for the file's own.
        diameter: diameter of the median object, which is checked; None to measure it.
        choice: values of :func:`~anystar_torch.training.volume_files.choosing`; None or absent where the file has one.

    Raises:
        ValueError: a setting is unknown, or needs a file that is not given; or a file cannot be read. The message has
            the names of the settings.
    """
    check_keys(choice, choosing("truth"), "report: ")
    given = [*(["truth"] if truth is not None else []), *(key for key in choice if choice[key] is not None)]
    if image is None:
        if given:
            raise ValueError(f"report.{given[0]} needs report.image, the real volume")
        return None
    if truth is None and (alone := [key for key in given if key.startswith("truth_")]):
        raise ValueError(f"report.{alone[0]} needs report.truth")
    try:
        if truth is None:
            same = {**choice, **{f"truth_{key}": choice.get(key) for key in KEYS}}
            file = VolumeFiles.of(image, image, same, "truth").image
            scan, labels = io.read(image, **file.choice, spacing=spacing), None
        else:
            scan, stored = VolumeFiles.of(image, truth, choice, "truth").read(spacing)
            labels = io.int32_ids(stored.array)
            check_measurable(diameter, labels, truth)
    except ValueError as error:
        raise ValueError(_KEY.sub(r"report.\1", str(error))) from error
    check_diameter(diameter, scan, image)
    return RealVolume(image, scan, labels)
