"""Files of an image and of its labels: which volume of each is read, and the labels along the axes of the image."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch import io
from anystar_torch.inference.input_volume import diameter_in_voxels
from anystar_torch.system.wording import number_of

KEYS = ("channel", "frame", "axes", "scene")
"""Keys that choose a volume of a file, as the arguments of :func:`anystar_torch.io.read`."""

_KEY = re.compile(rf"(?<![\w/.-])({'|'.join(KEYS)})=")


@dataclass(frozen=True)
class VolumeFile:
    """One volume of a file.

    Attributes:
        path: file, folder or URL.
        channel: index of the channel; None where there is one.
        frame: index of the time point; None where there is one.
        axes: one letter of Z, Y, X, C and T per dimension; None for the names in the file.
        scene: name or number of the scene; None where there is one.
    """

    path: str
    channel: int | None = None
    frame: int | None = None
    axes: str | None = None
    scene: str | None = None

    @property
    def choice(self) -> dict[str, Any]:
        """Arguments of :func:`anystar_torch.io.read` beside the path."""
        return {key: getattr(self, key) for key in KEYS}

    @property
    def time_point(self) -> tuple[str, str, int]:
        """Path, scene and time point, which all channels share. Without a choice they are the first ones."""
        path = self.path if io.is_url(self.path) else str(Path(self.path).resolve())
        return path, self.scene or "0", self.frame or 0

    def time_points(self, frame: int | None) -> int:
        """Number of time points of the file.

        Args:
            frame: index of the one that will be read, if it is known.
        """
        return io.frames(self.path, self.axes, self.scene, frame if self.channel is None else None)


@dataclass(frozen=True)
class VolumeFiles:
    """Files of an image and of its labels.

    Attributes:
        image: the image.
        labels: the labels.
        word: key of the labels in a configuration; their own keys begin with it.
    """

    image: VolumeFile
    labels: VolumeFile
    word: str = "labels"

    @classmethod
    def of(cls, image: str, labels: str, keys: Mapping[str, Any], word: str = "labels") -> "VolumeFiles":
        """The files that a configuration names.

        A time series of labels with as many time points as the image is read at the time point of the image.

        Args:
            image: file or folder of the image.
            labels: file or folder of the labels.
            keys: values by the names that :func:`choosing` returns.
            word: key of the labels.

        Raises:
            ValueError: a channel or time point is no index, or image and labels are time series of different length.
        """
        own = {key: keys.get(f"{word}_{key}") for key in KEYS}
        first = VolumeFile(image, **_checked({key: keys.get(key) for key in KEYS}))
        second = VolumeFile(labels, **_checked(own, f"{word}_"))
        if first.frame is not None and second.frame is None:
            second = replace(second, frame=_same_frame(first, second, word))
        return cls(first, second, word)

    def read(
        self, spacing: Sequence[float | int] | None, *, as_stored: bool = False
    ) -> tuple[io.SpatialImage, io.SpatialImage]:
        """Image and labels, both along the axes of the image.

        Args:
            spacing: voxel size (z, y, x) in micrometres, in place of those of both files; None for that of the image.
            as_stored: whether the values of the labels are returned unchecked.

        Raises:
            ValueError: a file cannot be read, or the files differ in shape or lie at different places.
        """
        scan = io.read(self.image.path, **self.image.choice, spacing=spacing)
        try:
            labels = io.read_labels(self.labels.path, **self.labels.choice, as_stored=as_stored)
        except ValueError as error:
            raise ValueError(_KEY.sub(rf"{self.word}_\1=", str(error))) from error
        resized = spacing is not None or io.read_record(self.labels.path) is not None
        turned = io.reoriented(labels, like=scan, resized=resized)
        return scan, replace(turned, array=np.ascontiguousarray(turned.array))


def choosing(word: str = "labels") -> tuple[str, ...]:
    """Keys that choose volumes: those of the image, and those of the labels, which begin with ``word``.

    Args:
        word: key of the labels.
    """
    return *KEYS, *(f"{word}_{key}" for key in KEYS)


def check_keys(given: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
    """Refuse unknown keys.

    Args:
        given: keys of a configuration.
        known: the allowed ones.
        where: begins the message.

    Raises:
        ValueError: a key is unknown.
    """
    if strange := sorted(set(given) - set(known)):
        raise ValueError(f"{where}unknown key {', '.join(strange)}; known: {', '.join(known)}")


def check_once(volumes: Sequence[VolumeFiles]) -> None:
    """Refuse an image that is given twice, and labels of several images. Channels of an image may share their labels.

    Args:
        volumes: of one list.

    Raises:
        ValueError: names the file.
    """
    images = [(*files.image.time_point, files.image.channel or 0) for files in volumes]
    twice = [image for image in images if images.count(image) > 1]
    if twice:
        raise ValueError(f"data.annotated: {twice[0][0]} is the image of {images.count(twice[0])} volumes")
    owners: dict[tuple[str, str, int, int], set[tuple[str, str, int]]] = {}
    for files in volumes:
        labels = (*files.labels.time_point, files.labels.channel or 0)
        owners.setdefault(labels, set()).add(files.image.time_point)
    for labels, labelled in owners.items():
        if len(labelled) > 1:
            raise ValueError(f"data.annotated: {labels[0]} is the labels of {len(labelled)} volumes")


def check_diameter(diameter: float | int | str | None, image: io.SpatialImage, path: str) -> None:
    """Refuse a diameter that cannot be converted to voxels.

    Args:
        diameter: in voxels of the finest axis or with a unit ("8um"); None if it is not given.
        image: the image.
        path: of the image, for the message.

    Raises:
        ValueError: it is no positive length, or it has a unit and the voxel size is not known in micrometres.
    """
    if diameter is None:
        return
    try:
        diameter_in_voxels(diameter, image.spacing if image.unit else None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_measurable(
    diameter: float | int | str | None, labels: Shaped[np.ndarray, "d h w"], path: str
) -> None:
    """Refuse labels without objects where the diameter is to be measured on them.

    Args:
        diameter: that is given; None to measure it.
        labels: ``[D, H, W]``.
        path: of the labels, for the message.

    Raises:
        ValueError: there is no diameter and no object.
    """
    if diameter is None and not (labels > 0).any():
        raise ValueError(
            f"{path} has no objects, so the diameter of the median object is not known; give the labels of the "
            "volume, or its diameter"
        )


def _checked(choice: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of :data:`KEYS`: whole numbers from 0 for channel and frame, text for the others.

    Raises:
        ValueError: a channel or frame is no such number.
    """
    for key in ("channel", "frame"):
        value = choice[key]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"{prefix}{key} must be a whole number from 0, got {value!r}")
    texts = {key: None if choice[key] is None else str(choice[key]) for key in ("axes", "scene")}
    return {**choice, **texts}


def _same_frame(image: VolumeFile, labels: VolumeFile, word: str) -> int | None:
    """The time point of the labels at that of the image; None where the labels have one.

    Raises:
        ValueError: the labels are a time series of another length.
    """
    count = labels.time_points(image.frame)
    if count == 1:
        return None
    expected = image.time_points(image.frame)
    if count != expected:
        raise ValueError(
            f"{labels.path} has {number_of(count, 'time point')} and {image.path} has {expected}; choose one with "
            f"{word}_frame= (0 to {count - 1})"
        )
    return image.frame
