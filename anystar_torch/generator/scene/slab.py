"""Stacks of few slices, continued along z by their mirror images as prediction continues them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, PerSampleAxis, Volume
from anystar_torch.generator.parameters import Range, check_chance, check_range, check_whole_numbers, draw
from anystar_torch.generator.scene.stretch import stretch
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.random.source import Source

_APART = 8
"""The direction of z is measured over a quarter of the depth of the sample: one eighth to each side."""


def mirrored_slices(depth: int, thickness: Tensor, first: Tensor) -> Int64[Tensor, "b d"]:
    """For every slice of a sample, the slice of the slab that it repeats, ``[B, depth]``.

    The slab is in the middle of the sample. Beyond its faces the volume continues as its mirror image about the
    outermost slices, repeatedly. Prediction pads thin volumes in the same way.

    Args:
        depth: slices of the sample.
        thickness: int64 ``[B]``, slices of the slab, 2 to ``depth``.
        first: int64 ``[B]``, place in a period of ``2 thickness - 2`` slices where the sample begins.
    """
    period = (2 * thickness - 2)[:, None]
    place = (torch.arange(depth, device=thickness.device)[None] + first[:, None]) % period
    return torch.minimum(place, period - place) + ((depth - thickness) // 2)[:, None]


def direction_of_z(coordinates: Coordinates) -> PerSampleAxis:
    """Direction of the z axis of the sample in the scene, in the middle of the sample; ``[B, 3]``, unit vectors.

    In parts of a sample that are mirror images, the z axis has the mirrored direction.

    Args:
        coordinates: positions of the voxels of the sample in the scene.
    """
    depth, height, width = coordinates.position.shape[2:]
    middle = coordinates.position[:, :, :, height // 2, width // 2]
    apart = max(depth // _APART, 1)
    way = middle[:, :, depth // 2 + apart - 1] - middle[:, :, depth // 2 - apart]
    z, y, x = way.unbind(1)
    return way / (z * z + y * y + x * x).sqrt().clamp(min=1e-6)[:, None]


@dataclass(frozen=True, kw_only=True)
class RandomSlab:
    """Stacks of few slices in which both z faces cut most objects, as in images of adherent cells.

    Prediction continues such a stack by mirror images to the size that the network needs. An object at a face is then
    joined to its mirror image. These samples are made in the same way: slices of a slab are repeated, and objects
    become columns along z. AnyStar has no such samples.

    Objects are stretched along one direction of the scene: the z axis in the middle of the sample. Where an affine map
    or a zoom mirrors the scene, these objects are therefore stretched along the mirror image of the z axis.

    Attributes:
        p: chance of a slab.
        thickness: least and largest number of slices.
        length: range of the factor by which the objects of a slab are longer.
    """

    p: float
    thickness: Sequence[int]
    length: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_whole_numbers("thickness", self.thickness, 2)
        check_range("thickness", self.thickness, 2.0)
        check_range("length", self.length, 1.0, 10.0)

    def stretched(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Coordinates into a scene in which the objects of slabs are longer along :func:`direction_of_z`.

        Args:
            coordinates: positions of the voxels of the sample in the scene.
            source: draws of the slab.
        """
        if self.p == 0.0:
            return coordinates
        length: PerSample = torch.where(self._there(source), draw(source, "length", self.length), 1.0)
        return stretch(coordinates, direction_of_z(coordinates), length, torch.ones_like(length))

    def repeated(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Image and labels ``[B, 1, D, H, W]`` with the slices of the slab repeated, in samples that are slabs.

        Args:
            image: ``[B, 1, D, H, W]``.
            labels: ``[B, 1, D, H, W]``.
            source: draws of the slab.
        """
        if self.p == 0.0:
            return image, labels
        depth = image.shape[2]
        least, most = (min(n, depth) for n in self.thickness)
        thickness = source.integers("thickness", least, most + 1)
        slices = mirrored_slices(depth, thickness, source.integers("first", 0, 1 << 12))
        every = torch.arange(depth, device=image.device)
        index = torch.where(self._there(source)[:, None], slices, every)[:, None, :, None, None]
        return image.gather(2, index.expand_as(image)), labels.gather(2, index.expand_as(labels))

    def _there(self, source: Source) -> Tensor:
        return source.coin("there", self.p)
