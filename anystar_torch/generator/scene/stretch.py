"""Elongated and flat objects: the label field is stretched along one direction."""

import math
from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample, PerSampleAxis
from anystar_torch.generator.parameters import Range, check_chance, check_range
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.random.source import Source


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
    """Elongated or flat objects in some samples, all along one random direction; volumes stay the same.

    Cells of one tissue are often elongated in one direction, as in muscle, in epithelium or along a vessel. AnyStar has
    no such samples.

    Attributes:
        p: chance to apply.
        aspect: range of the length along the direction over the width across it. Its logarithm is uniform. Below 1
            objects are flat.
    """

    p: float
    aspect: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("aspect", self.aspect, 0.2, 5.0)

    def __call__(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Draw a direction and an aspect per sample, and stretch the objects of some samples."""
        if self.p == 0.0:
            return coordinates
        low, high = (math.log(bound) for bound in self.aspect)
        log = torch.where(source.coin("applied", self.p), source.uniform("aspect", low, high), 0.0)
        height = source.uniform("height", -1.0, 1.0)
        azimuth = source.uniform("azimuth", 0.0, 2.0 * math.pi)
        ring = (1.0 - height * height).sqrt()
        direction = torch.stack([height, ring * azimuth.sin(), ring * azimuth.cos()], dim=1)
        return stretch(coordinates, direction, (log * (2.0 / 3.0)).exp(), (log * (-1.0 / 3.0)).exp())
