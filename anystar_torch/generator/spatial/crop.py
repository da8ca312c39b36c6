"""The recorded part of the scene: a box of random size at a random place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.generator.parameters import Range, check_range
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """A box with a random size along each axis, at a random place in the scene.

    AnyStar crops with MONAI 1.1's ``RandSpatialCropd``, which also draws the size by default: 64 to 128 of 128 voxels.
    The size determines the planes of later reflections and the amount of zero padding in a sample.

    Attributes:
        share: range of the size of the box over the size of the scene.
    """

    share: Range

    def __post_init__(self) -> None:
        check_range("share", self.share, 0.05, 1.0)

    def size(self, scene_shape: Sequence[int], source: Source) -> PerSampleAxis:
        """Draw the size of the box of each sample, ``[B, 3]``, whole voxels.

        Args:
            scene_shape: (Z, Y, X), voxels.
            source: draws of the crop.
        """
        least, most = self.share
        low, high = ([share * n for n in scene_shape] for share in (least, most))
        unit = source.uniform("size", 0.0, 1.0, 3)
        drawn = [(unit[:, a] * (high[a] - low[a] + 1.0) + low[a]).floor() for a in range(3)]
        # One draw in 10^7 is rounded up to the next voxel.
        return torch.stack([one.clamp(max=math.floor(n)) for one, n in zip(drawn, high, strict=True)], dim=1)

    def __call__(self, coordinates: Coordinates, scene_shape: Sequence[int], source: Source) -> Coordinates:
        """Put the box at a random place of the scene.

        Args:
            coordinates: positions from the centre of the box.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        total = torch.stack(
            [torch.full_like(coordinates.size[:, a], float(scene_shape[a])) for a in range(3)], dim=1
        )
        room = total - coordinates.size
        first = (source.uniform("first", 0.0, 1.0, 3) * (room + 1.0)).floor()
        shift = first - room / 2.0
        return replace(coordinates, size=total).then(Step(identity(total), after=shift))
