"""The volume of a napari layer: its axes, its voxel size, and parts of it as arrays (z, y, x)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from anystar_torch.arrays import Spacing, Triple
from anystar_torch.io.axes import LETTERS
from anystar_torch.io.voxel_size import micrometres

Box = tuple[slice, slice, slice]
"""A part of a volume, (z, y, x) in voxels."""

_LETTERS = {**LETTERS, "ch": "C"}  # by the names of axes in lower case
FILE_CHANNEL = "anystar_torch_channel"
"""Key in the metadata of an image layer that shows one channel of a file: the index of this channel."""
FILE_SCENE = "anystar_torch_scene"
"""Key in the metadata of an image layer that shows one of several scenes of a file: its name or number."""
_ROUNDING = 1e-6  # relative; the length of a rotated step is not exact
_BY_POSITION = {3: "ZYX", 4: "TZYX", 5: "TCZYX"}  # where the axes have no names


@dataclass(frozen=True)
class LayerVolume:
    """The data of an image layer, and where they lie.

    Attributes:
        name: name of the layer.
        levels: arrays of one image, finest first; several in a multiscale layer. They may be lazy.
        letters: one of T, C, Z, Y and X per dimension.
        scale: size of a step along each dimension.
        translate: position of the first element along each dimension.
        rotate: rotation matrix, which acts after scale and shear.
        shear: shear of the dimensions, as napari gives it; it acts after scale.
        affine: affine matrix with one row and column more than there are dimensions, which acts last.
        units: unit of each dimension, as napari names it.
        path: the file of the layer; None for data that were not opened from one.
        file_channel: the channel of the file that the layer shows; None for a layer of all channels.
        file_scene: the scene of the file that the layer shows; None where the file has one.
    """

    name: str
    levels: tuple[Any, ...]
    letters: str
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    rotate: NDArray[Any]
    shear: NDArray[Any]
    affine: NDArray[Any]
    units: tuple[str, ...]
    path: Path | None = None
    file_channel: int | None = None
    file_scene: str | None = None

    @classmethod
    def of(cls, layer: Any, leading: str = "T") -> "LayerVolume":
        """The volume of an image layer.

        Args:
            layer: napari's layer.
            leading: "T" or "C": meaning of the first of four dimensions without names.

        Raises:
            ValueError: the layer is no volume of real numbers. The message is one line.
        """
        if getattr(layer, "rgb", False):
            raise ValueError(
                f"{layer.name} is a colour image; split its channels first (right click on the layer)"
            )
        levels = tuple(layer.data) if layer.multiscale else (layer.data,)
        letters = _letters(layer, leading)
        if np.dtype(levels[0].dtype).kind not in "uifb":
            raise ValueError(f"{layer.name} must hold real numbers, got {levels[0].dtype}")
        path = layer.source.path
        return cls(
            layer.name,
            levels,
            letters,
            tuple(float(step) for step in layer.scale),
            tuple(float(start) for start in layer.translate),
            np.array(layer.rotate, float),
            np.array(layer.shear, float),
            np.array(layer.affine.affine_matrix, float),
            tuple(str(unit) for unit in layer.units),
            None if path is None else Path(path),
            layer.metadata.get(FILE_CHANNEL),
            layer.metadata.get(FILE_SCENE),
        )

    @property
    def shape(self) -> Triple:
        """Number of voxels, (z, y, x)."""
        z, y, x = (int(self.levels[0].shape[self.letters.index(letter)]) for letter in "ZYX")
        return z, y, x

    @property
    def nbytes(self) -> int:
        """Bytes of one volume."""
        return math.prod(self.shape) * int(np.dtype(self.levels[0].dtype).itemsize)

    @property
    def transform(self) -> dict[str, Any]:
        """Arguments of a layer whose elements lie over those of this layer."""
        names = ("scale", "translate", "rotate", "shear", "affine", "units")
        return {name: getattr(self, name) for name in names}

    @property
    def linear(self) -> NDArray[Any]:
        """Matrix of scale, shear and rotation, which comes before translation and affine matrix."""
        own = Affine(scale=self.scale, rotate=self.rotate, shear=self.shear, ndim=len(self.letters))
        return np.array(own.linear_matrix)

    @property
    def steps(self) -> tuple[float, ...]:
        """Length of a step along each dimension, after all transforms of the layer."""
        columns = (self.affine[:-1, :-1] @ self.linear).T
        return tuple(float(np.hypot.reduce(column)) for column in columns)

    @property
    def spacing(self) -> tuple[Spacing | None, str]:
        """Voxel size (z, y, x) and its unit: "um", or "" where only its ratios are known. None where nothing is."""
        places = [self.letters.index(letter) for letter in "ZYX"]
        steps = [self.steps[place] for place in places]
        factors = [micrometres(self.units[place]) for place in places]
        known = [factor for factor in factors if factor is not None]
        if len(known) == len(places):
            z, y, x = (step * factor for step, factor in zip(steps, known, strict=True))
            return (z, y, x), "um"
        z, y, x = steps
        return (None if np.allclose(steps, 1, rtol=_ROUNDING) else (z, y, x)), ""

    def count(self, letter: str) -> int:
        """Length of an axis; 1 where the layer does not have it.

        Args:
            letter: "T" or "C".
        """
        return int(self.levels[0].shape[self.letters.index(letter)]) if letter in self.letters else 1

    def in_file(self, frame: int, channel: int) -> dict[str, Any]:
        """Which volume of the file a volume of the layer is, as arguments of :func:`anystar_torch.io.read`.

        Args:
            frame: index of the time point in the layer.
            channel: index of the channel in the layer.
        """
        several = self.count("C") > 1
        return {
            "frame": frame if self.count("T") > 1 else None,
            "channel": channel if several else self.file_channel,
            "scene": self.file_scene,
        }

    def read(
        self, frame: int = 0, channel: int = 0, box: Box | None = None, level: int = 0
    ) -> Shaped[np.ndarray, "d h w"]:
        """One volume, or a part of it, in memory.

        Args:
            frame: index of the time point.
            channel: index of the channel.
            box: voxels of the level; None for all.
            level: index of the array in :attr:`levels`.
        """
        part = self.levels[level][self._index(frame, channel, box)]
        return np.asarray(_as_zyx(part, self.letters))

    def place(self, position: Sequence[float] | NDArray[Any]) -> tuple[int, tuple[float, float, float]]:
        """Time point and voxel (z, y, x) of a position in the data of the layer.

        Args:
            position: one coordinate per dimension, in elements.
        """
        frame = round(position[self.letters.index("T")]) if "T" in self.letters else 0
        z, y, x = (float(position[self.letters.index(letter)]) for letter in "ZYX")
        return frame, (z, y, x)

    def _index(self, frame: int, channel: int, box: Box | None) -> tuple[int | slice, ...]:
        chosen: dict[str, int | slice] = {"T": frame, "C": channel}
        chosen |= dict(zip("ZYX", box or (slice(None),) * 3, strict=True))
        return tuple(chosen[letter] for letter in self.letters)


@dataclass(frozen=True)
class LabelsPlace:
    """The array of a labels layer over an image layer: it has the same dimensions, and one channel.

    It holds only the time points that were segmented: labels of a whole series may need far more memory than those
    of one time point.

    Attributes:
        source: the image.
        channel: the channel that was segmented.
        start: first voxel (z, y, x) of the labels in the image.
        shape: voxels of the labels, (z, y, x).
        frame: first time point of the labels.
        frames: number of time points of the labels.
    """

    source: LayerVolume
    channel: int
    start: Triple
    shape: Triple
    frame: int = 0
    frames: int = 1

    @classmethod
    def whole(cls, source: LayerVolume, channel: int, frame: int = 0, frames: int = 1) -> "LabelsPlace":
        """Labels of whole volumes.

        Args:
            source: the image.
            channel: the channel that is segmented.
            frame: first time point.
            frames: number of time points.
        """
        return cls(source, channel, (0, 0, 0), source.shape, frame, frames)

    def empty(self) -> Shaped[np.ndarray, "..."]:
        """Labels without an object."""
        sizes = {"T": self.frames, "C": 1, **dict(zip("ZYX", self.shape, strict=True))}
        return np.zeros([sizes[letter] for letter in self.source.letters], np.int32)

    def volume(self, labels: Shaped[np.ndarray, "..."], frame: int) -> Shaped[np.ndarray, "d h w"]:
        """The labels of one time point as a view, (z, y, x).

        Args:
            labels: data of the labels layer.
            frame: index of the time point in the image.
        """
        chosen = {"T": frame - self.frame, "C": 0}
        index = tuple(chosen.get(letter, slice(None)) for letter in self.source.letters)
        return _as_zyx(labels[index], self.source.letters)

    def position(self, point: Sequence[float] | NDArray[Any]) -> tuple[int, tuple[float, float, float]]:
        """Time point of the image, and voxel (z, y, x) of the labels, at a position in the labels layer.

        Args:
            point: one coordinate per dimension, in elements of the labels layer.
        """
        frame, voxel = self.source.place(point)
        return frame + self.frame, voxel

    @property
    def transform(self) -> dict[str, Any]:
        """Arguments of a layer that shows the labels over the image."""
        first = {"T": self.frame, "C": self.channel, **dict(zip("ZYX", self.start, strict=True))}
        offset = self.source.linear @ [first[letter] for letter in self.source.letters]
        return {**self.source.transform, "translate": tuple((self.source.translate + offset).tolist())}


def _letters(layer: Any, leading: str) -> str:
    """One letter per dimension, by the names of the axes or else by their positions."""
    if layer.ndim not in _BY_POSITION:
        raise ValueError(
            f"{layer.name} has {layer.ndim} dimensions; a volume has 3, with time or channels 4 or 5"
        )
    named = [_LETTERS.get(str(label).strip().lower(), "?") for label in layer.axis_labels]
    if len(set(named)) == layer.ndim and set(named) <= set("TCZYX"):
        if missing := set("ZYX") - set(named):
            raise ValueError(
                f"{layer.name} has the axes {', '.join(layer.axis_labels)}, and a volume has z, y and x: if one of "
                f"them is {min(missing).lower()}, rename it (axis_labels of the layer)"
            )
        return "".join(named)
    return leading + "ZYX" if layer.ndim == 4 else _BY_POSITION[layer.ndim]


def _as_zyx(array: Any, letters: str) -> Any:
    """The array with its axes in the order (z, y, x)."""
    order = [letter for letter in letters if letter in "ZYX"]
    return array.transpose([order.index(letter) for letter in "ZYX"])
