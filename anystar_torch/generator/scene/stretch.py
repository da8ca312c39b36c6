"""Elongated and flat objects: the label field is stretched along one direction."""

import math
from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample, PerSampleAxis
from anystar_torch.generator.parameters import Range, check_chance, check_range
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.random.source import Source

_APART = 8
"""The direction of z is measured over a quarter of the depth of the sample: one eighth to each side."""


def direction_of_z(coordinates: Coordinates) -> PerSampleAxis:
    """Direction of the z axis of the sample in the scene, in the middle of the sample; ``[B, 3]``, unit vectors.

    Args:
        coordinates: positions of the voxels of the sample in the scene.
    """
    depth, height, width = coordinates.position.shape[2:]
    middle = coordinates.position[:, :, :, height // 2, width // 2]
    apart = max(depth // _APART, 1)
    way = middle[:, :, depth // 2 + apart - 1] - middle[:, :, depth // 2 - apart]
    z, y, x = way.unbind(1)
    return way / (z * z + y * y + x * x).sqrt().clamp(min=1e-6)[:, None]


def stretch(
    coordinates: Coordinates, direction: PerSampleAxis, along: PerSample, across: PerSample
) -> Coordinates:
    """Coordinates into a scene that was stretched ``along`` a direction and ``across`` it.

    The map is linear, so star-convex objects stay star-convex. Only objects are evaluated there: texture and noise keep
    their scale.

    Args:
        coordinates: into the stretched scene.
        direction: ``[B, 3]``, unit vectors (z, y, x).
        along: ``[B]``, length of an object along the direction over its length before; 1 for none.
        across: ``[B]``, the same for the directions at right angles.
    """
    wide, extra = 1.0 / across, 1.0 / along - 1.0 / across
    onto = direction[:, :, None] * direction[:, None]  # projects onto the direction
    return coordinates.then(Step(identity(direction) * wide[:, None, None] + onto * extra[:, None, None]))


@dataclass(frozen=True, kw_only=True)
class RandomStretch:
    """Elongated or flat objects in some samples, all along one direction; volumes stay the same.

    Cells of one tissue are often elongated in one direction, as in muscle, in epithelium or along a vessel. In a
    microscope that direction is often z: adherent cells are flat, and an image that is blurred along z, or whose slices
    are further apart than its record says, has objects that are long. AnyStar has no such samples.

    Attributes:
        p: chance to apply.
        aspect: range of the length along the direction over the width across it. Its logarithm is uniform. Below 1
            objects are flat.
        along_z: chance that the direction is the z axis of the sample; otherwise it is any direction.
    """

    p: float
    aspect: Range
    along_z: float = 0.0

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_chance("along_z", self.along_z)
        check_range("aspect", self.aspect, 0.2, 5.0)

    def __call__(self, coordinates: Coordinates, z: PerSampleAxis, source: Source) -> Coordinates:
        """Draw a direction and an aspect per sample, and stretch the objects of some samples.

        Args:
            coordinates: into the stretched scene.
            z: ``[B, 3]``, direction of the z axis of the samples in the scene, unit vectors.
            source: draws.
        """
        if self.p == 0.0:
            return coordinates
        low, high = (math.log(bound) for bound in self.aspect)
        log = torch.where(source.coin("applied", self.p), source.uniform("aspect", low, high), 0.0)
        direction = torch.where(source.coin("along z", self.along_z)[:, None], z, _any_direction(source))
        return stretch(coordinates, direction, (log * (2.0 / 3.0)).exp(), (log * (-1.0 / 3.0)).exp())


def _any_direction(source: Source) -> PerSampleAxis:
    """Directions that are uniform on a sphere, ``[B, 3]``, unit vectors."""
    height = source.uniform("height", -1.0, 1.0)
    azimuth = source.uniform("azimuth", 0.0, 2.0 * math.pi)
    ring = (1.0 - height * height).sqrt()
    return torch.stack([height, ring * azimuth.sin(), ring * azimuth.cos()], dim=1)
