"""Objects in sheets and chains: which lattice points of the label field have an object."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source

PointValues = Float32[Tensor, "b n m k"]


def sheets(
    point: Float32[Tensor, "b 3 n m k"],
    centre: Float32[Tensor, "b f 3"],
    spacing: Float32[Tensor, "b f"],
    phase: Float32[Tensor, "b f"],
) -> Float32[Tensor, "b f n m k"]:
    """Distance of every point to the nearest of a family of concentric spheres: 0 on a sphere, 1 halfway between two.

    If the centre is inside of the scene, the spheres are shells around a cavity, as in a blastocyst. If it is far away,
    they are nearly flat layers.

    Args:
        point: ``[B, 3, n, m, k]``, voxels.
        centre: ``[B, F, 3]``, centre of each of F families of spheres, voxels.
        spacing: ``[B, F]``, distance from one sphere to the next, voxels.
        phase: ``[B, F]`` in [0, 1), radius of the smallest sphere, in spacings.
    """
    z, y, x = (point[:, None] - centre[..., None, None, None]).square().unbind(2)
    spacing, phase = spacing[..., None, None, None], phase[..., None, None, None]
    turns = (z + y + x).sqrt() / spacing - phase
    return (turns - turns.round()).abs() * 2.0


@dataclass(frozen=True, kw_only=True)
class RandomArrangement:
    """Objects in curved sheets, or in chains where two families of sheets meet, in some samples.

    AnyStar has no such samples: its objects occupy a random subset of the lattice.

    Attributes:
        p: chance to apply.
        chains: chance of chains in an arranged sample; the others have sheets.
        spacing: range of the distance from one sheet to the next, voxels.
        centre: largest distance of the centre of the spheres from the middle of the scene along each axis, voxels. The
            distance is proportional to the cube of a uniform number, so near centres, with shells, are frequent.
        filling: range of the number of objects over that of one layer per sheet or one row per chain.
        order: weight of the distance to the sheet against chance in the choice of lattice points, in [0, 1].
    """

    p: float
    chains: float
    spacing: Range
    centre: float
    filling: Range
    order: float

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_chance("chains", self.chains)
        check_range("spacing", self.spacing, 8.0, 512.0)
        check_range("centre", (0.0, self.centre), 0.0, 4096.0)
        check_range("filling", self.filling, 0.0, 4.0)
        check_chance("order", self.order)

    def applied(self, source: Source) -> Bool[Tensor, " b"]:
        """Whether each sample is arranged, ``[B]``.

        Args:
            source: draws of the arrangement.
        """
        return source.coin("applied", self.p)

    def share(self, occupancy: PerSample, pitch: PerSample, source: Source) -> PerSample:
        """Share of lattice points that have an object, ``[B]``; ``occupancy`` in samples that are not arranged.

        Args:
            occupancy: ``[B]``, the share without an arrangement.
            pitch: ``[B]``, distance between lattice points, voxels.
            source: draws.
        """
        first, second = (pitch[:, None] / draw(source, "spacing", self.spacing, 2)).unbind(1)
        layer = torch.where(self._chained(source), first * second, first)
        own = (draw(source, "filling", self.filling) * layer).clamp(max=1.0)
        return torch.where(self.applied(source), own, occupancy)

    def sort_key(
        self,
        numbers: PointValues,
        point: Float32[Tensor, "b 3 n m k"],
        middle: Sequence[float],
        source: Source,
    ) -> PointValues:
        """Numbers in [0, 1], ``[B, n, m, k]``; the points with the lowest ones have an object.

        Args:
            numbers: ``[B, n, m, k]``, uniform in (0, 1); the result in samples that are not arranged.
            point: ``[B, 3, n, m, k]``, lattice points, voxels.
            middle: (z, y, x), the middle of the scene, voxels.
            source: draws.
        """
        root = source.uniform("centre", -1.0, 1.0, 2, 3)
        spacing, phase = draw(source, "spacing", self.spacing, 2), source.uniform("phase", 0.0, 1.0, 2)
        both = sheets(point, _shifted(root * root * root * self.centre, middle), spacing, phase)
        chained = self._chained(source)[:, None, None, None]
        distance = torch.where(chained, both.amax(1), both[:, 0])
        order = torch.where(self.applied(source), self.order, 0.0).to(torch.float32)
        return torch.lerp(numbers, distance, order[:, None, None, None])

    def _chained(self, source: Source) -> Bool[Tensor, " b"]:
        return source.coin("chained", self.chains)


def _shifted(centre: Float32[Tensor, "b f 3"], middle: Sequence[float]) -> Float32[Tensor, "b f 3"]:
    """Sum of both. In a scene that is a cube, one operator adds one number."""
    if len(set(middle)) == 1:
        return centre + middle[0]
    return torch.stack([column + at for column, at in zip(centre.unbind(2), middle, strict=True)], dim=2)
