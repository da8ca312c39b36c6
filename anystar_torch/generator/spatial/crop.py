"""The part of the world that is recorded: a box of random size at a random place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.generator.parameters import Range, check_range
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomWindow:
    """A box whose size is drawn per axis, then put anywhere in the world.

    AnyStar crops with MONAI 1.1's ``RandSpatialCropd``, whose default draws the size too: 64 to 128 of 128 voxels.
    The size decides where later reflections stand and how much zero padding is seen.

    Attributes:
        share: range of the box's size as a share of the world's.
    """

    share: Range

    def __post_init__(self) -> None:
        check_range("share", self.share, 0.05, 1.0)

    def size(self, world: Sequence[int], source: Source) -> PerSampleAxis:
        """The box's size ``[B, 3]``, whole voxels."""
        least, most = self.share
        low, high = ([share * n for n in world] for share in (least, most))
        unit = source.uniform("size", 0.0, 1.0, 3)
        columns = [(unit[:, a] * (high[a] - low[a] + 1.0) + low[a]).floor() for a in range(3)]
        return torch.stack(columns, dim=1)

    def __call__(self, coordinates: Coordinates, world: Sequence[int], source: Source) -> Coordinates:
        """Put the box, on whose centre ``coordinates`` are centred, at a random place of ``world``."""
        total = torch.stack(
            [torch.full_like(coordinates.size[:, a], float(world[a])) for a in range(3)], dim=1
        )
        room = total - coordinates.size
        first = (source.uniform("first", 0.0, 1.0, 3) * (room + 1.0)).floor()
        shift = first - room / 2.0
        return replace(coordinates, size=total).then(Step(identity(total), after=shift))
