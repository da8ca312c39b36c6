"""Annotated volumes on the training device, at the size of the network, and crops of them at any positions.

The image is averaged to the scale of the network where it has finer voxels, as prediction does it, and keeps its own
voxels where they are coarser. So it is interpolated once in a crop. Labels keep their own voxels: the label of a
position is that of the nearest voxel. All volumes lie behind one another in one tensor, so the samples of a batch can
show different volumes without a wait of the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from scipy import ndimage
from torch import Tensor

from anystar_torch.arrays import Labels, PerSampleAxis, Triple, Volume
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.input_volume import diameter_in_voxels
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.training.annotation import Annotation

_APART = 16
"""Network voxels between places of the background at which crops may have their centre."""


@dataclass(frozen=True)
class Grids:
    """Arrays of several volumes, one behind the other.

    Attributes:
        values: ``[N]``, the voxels of all volumes.
        first: ``[V]``, index of the first voxel of each volume.
        shape: ``[V, 3]``, (z, y, x).
    """

    values: Tensor
    first: Int64[Tensor, " v"]
    shape: Int64[Tensor, "v 3"]

    @classmethod
    def of(cls, arrays: Sequence[Tensor]) -> "Grids":
        """Join arrays ``[D, H, W]``.

        Args:
            arrays: one per volume.
        """
        sizes = torch.tensor([0, *(array.numel() for array in arrays)])
        shapes = torch.tensor([list(array.shape) for array in arrays])
        return cls(torch.cat([array.reshape(-1) for array in arrays]), sizes.cumsum(0)[:-1], shapes)

    def to(self, device: torch.device) -> "Grids":
        """The same on another device.

        Args:
            device: the device.
        """
        return Grids(self.values.to(device), self.first.to(device), self.shape.to(device))

    def at(self, number: Int64[Tensor, " b"], index: Int64[Tensor, "b 3 d h w"]) -> Tensor:
        """The values of voxels, ``[B, 1, D, H, W]``.

        Args:
            number: volume of each sample.
            index: voxel (z, y, x) of it.
        """
        shape = self.shape[number][:, :, None, None, None]
        z, y, x = index.unbind(1)
        place = (z * shape[:, 1] + y) * shape[:, 2] + x + self.first[number][:, None, None, None]
        return self.values[place][:, None]


@dataclass(frozen=True)
class AnnotatedVolumes:
    """Volumes and labels on a device.

    Attributes:
        images: normalised grey values.
        labels: labels in the voxels of the annotation.
        shape: ``[V, 3]``, shapes of the volumes at the scale of the network, voxels.
        objects: ``[N, 4]``, volume and centre (z, y, x) of every object, network voxels.
        background: ``[M, 4]``, volume and position of annotated background; the objects again where there is none.
    """

    images: Grids
    labels: Grids
    shape: Float32[Tensor, "v 3"]
    objects: Float32[Tensor, "n 4"]
    background: Float32[Tensor, "m 4"]

    @classmethod
    def of(
        cls, annotations: Sequence[Annotation], target: float, normalisation: str, rays: Rays
    ) -> "AnnotatedVolumes":
        """Rescale volumes so that their objects have the size of training.

        Args:
            annotations: the volumes.
            target: diameter of the median object that the network knows, network voxels.
            normalisation: name of the normalisation of the network.
            rays: rays of the network, whose anisotropy is its voxel shape.
        """
        images, labels, shapes, objects, background = [], [], [], [], []
        for number, annotation in enumerate(annotations):
            diameter = diameter_in_voxels(annotation.diameter, annotation.spacing)
            scaling = Scaling.of(annotation.image.shape, annotation.spacing, diameter, target, rays)
            images.append(_stored_image(annotation, scaling, normalisation))
            labels.append(torch.from_numpy(annotation.labels))
            shapes.append(list(scaling.shape))
            objects.append(_object_centres(annotation, scaling, number))
            background.append(_background_places(annotation, scaling, number))
        centres = torch.cat(objects)
        places = torch.cat(background)
        shape = torch.tensor(shapes, dtype=torch.float32)
        return cls(Grids.of(images), Grids.of(labels), shape, centres, places if len(places) else centres)

    def to(self, device: torch.device) -> "AnnotatedVolumes":
        """The same on another device.

        Args:
            device: the device.
        """
        return AnnotatedVolumes(
            self.images.to(device),
            self.labels.to(device),
            self.shape.to(device),
            self.objects.to(device),
            self.background.to(device),
        )

    def crop(
        self, number: Int64[Tensor, " b"], position: Float32[Tensor, "b 3 d h w"]
    ) -> tuple[Volume, Labels]:
        """Image and labels at positions. A volume continues beyond its faces as its mirror image.

        Args:
            number: volume of each sample, ``[B]``.
            position: ``[B, 3, D, H, W]``, (z, y, x) in network voxels; whole numbers are voxel centres.

        Returns:
            Image ``[B, 1, D, H, W]`` in about [0, 1], and labels with :data:`~.annotation.UNKNOWN`.
        """
        shape = self.shape[number]
        place = mirrored(position, shape)
        return self._image(number, place, shape), self._labels(number, place, shape)

    def _image(
        self, number: Int64[Tensor, " b"], place: Float32[Tensor, "b 3 d h w"], shape: PerSampleAxis
    ) -> Volume:
        """Linear interpolation between the voxels of the stored image."""
        size = self.images.shape[number]
        low, share = _between(place, shape, size)
        high = torch.minimum(low + 1, (size - 1)[:, :, None, None, None])
        image: Tensor | None = None
        for corner in range(8):
            index, weight = [], None
            for axis in range(3):
                upper = corner >> axis & 1
                index.append((high if upper else low)[:, axis])
                part = share[:, axis] if upper else 1.0 - share[:, axis]
                weight = part if weight is None else weight * part
            assert weight is not None
            value = self.images.at(number, torch.stack(index, 1)) * weight[:, None]
            image = value if image is None else image + value
        assert image is not None
        return image

    def _labels(
        self, number: Int64[Tensor, " b"], place: Float32[Tensor, "b 3 d h w"], shape: PerSampleAxis
    ) -> Labels:
        """Labels of the nearest voxels of the annotation."""
        size = self.labels.shape[number]
        low, share = _between(place, shape, size)
        nearest = torch.minimum(low + (share >= 0.5), (size - 1)[:, :, None, None, None])
        labels: Labels = self.labels.at(number, nearest)
        return labels


def mirrored(position: Float32[Tensor, "b 3 d h w"], shape: PerSampleAxis) -> Float32[Tensor, "b 3 d h w"]:
    """Positions reflected into a volume about its first and last voxel, as often as needed.

    Args:
        position: ``[B, 3, D, H, W]``, voxels.
        shape: ``[B, 3]``, voxels.
    """
    last = (shape - 1.0)[:, :, None, None, None]
    period = (2.0 * last).clamp_min(1e-6)
    place = position.abs() % period
    return torch.minimum(place, period - place).clamp_min(0.0).minimum(last)


def _between(
    place: Float32[Tensor, "b 3 d h w"], shape: PerSampleAxis, size: Int64[Tensor, "b 3"]
) -> tuple[Int64[Tensor, "b 3 d h w"], Float32[Tensor, "b 3 d h w"]]:
    """The voxel at or below each position on a grid of ``size`` voxels, and the share of the next one.

    Args:
        place: network voxels.
        shape: shape of the volume in network voxels.
        size: shape of the same volume on the grid.
    """
    ratio = (size / shape)[:, :, None, None, None]
    last = (size - 1)[:, :, None, None, None].to(place.dtype)
    on_grid = ((place + 0.5) * ratio - 0.5).clamp_min(0.0).minimum(last)
    low = on_grid.floor()
    return low.to(torch.int64), on_grid - low


def _stored_image(annotation: Annotation, scaling: Scaling, normalisation: str) -> Float32[Tensor, "d h w"]:
    """The normalised image, on each axis with the coarser of the voxels of the file and of the network."""
    z, y, x = (min(own, network) for own, network in zip(scaling.source, scaling.shape, strict=True))
    stored: Triple = (z, y, x)
    intensities = intensity_range(annotation.image, normalisation)
    resampled = ResampledVolume(annotation.image, Scaling(scaling.source, stored), intensities)
    image: Tensor = resampled.box((0, 0, 0), stored)[0, 0]
    return image


def _object_centres(annotation: Annotation, scaling: Scaling, number: int) -> Float32[Tensor, "n 4"]:
    """Volume and centre of every object, network voxels."""
    labels = annotation.labels
    centres = ndimage.center_of_mass(labels > 0, labels, annotation.objects)
    return _rows(np.array(centres), scaling, number)


def _background_places(annotation: Annotation, scaling: Scaling, number: int) -> Float32[Tensor, "m 4"]:
    """Volume and position of annotated background, on a lattice, network voxels."""
    steps = [max(1, round(_APART * ratio)) for ratio in scaling.ratio]
    starts = [min(step // 2, size - 1) for step, size in zip(steps, annotation.labels.shape, strict=True)]
    part = annotation.labels[tuple(slice(a, None, step) for a, step in zip(starts, steps, strict=True))]
    places = np.argwhere(part == 0) * np.array(steps) + np.array(starts)
    return _rows(places, scaling, number)


def _rows(places: Shaped[np.ndarray, "n 3"], scaling: Scaling, number: int) -> Float32[Tensor, "n 4"]:
    """Rows of volume and position, from positions in the voxels of the file."""
    network = (places.reshape(-1, 3) + 0.5) / np.array(scaling.ratio) - 0.5
    rows = np.concatenate([np.full((len(network), 1), number), network], axis=1)
    return torch.from_numpy(rows.astype(np.float32))
