"""Objects in sheets and chains instead of everywhere: which lattice points are the last to lose their object."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source

Lattice = Float32[Tensor, "b n m k"]


def sheets(
    point: Float32[Tensor, "b 3 n m k"],
    centre: Float32[Tensor, "b f 3"],
    spacing: Float32[Tensor, "b f"],
    phase: Float32[Tensor, "b f"],
) -> Float32[Tensor, "b f n m k"]:
    """Distance of every point to the nearest of a family of concentric spheres: 0 on a sphere, 1 halfway between two.

    With the centre inside of the scene the spheres are shells around a cavity, as in a blastocyst; with a distant one
    they are nearly flat layers.

    Args:
        point: ``[B, 3, n, m, k]``, voxels.
        centre: ``[B, F, 3]``, of the spheres of each of F families, voxels.
        spacing: ``[B, F]``, voxels from one sphere to the next.
        phase: ``[B, F]`` in [0, 1), the radius of the smallest sphere in spacings.
    """
    z, y, x = (point[:, None] - centre[..., None, None, None]).square().unbind(2)
    spacing, phase = spacing[..., None, None, None], phase[..., None, None, None]
    turns = (z + y + x).sqrt() / spacing - phase
    return (turns - turns.round()).abs() * 2.0


@dataclass(frozen=True, kw_only=True)
class RandomArrangement:
    """Objects in curved sheets, or in chains where two families of sheets meet, in some samples.

    No counterpart in AnyStar, which keeps a random subset of its lattice.

    Attributes:
        p: chance to apply.
        chains: chance of chains among the arranged samples; the others have sheets.
        spacing: range of the distance from one sheet to the next, voxels.
        centre: largest distance of the spheres' centre from the middle of the scene along each axis, voxels; the
            distance is the cube of a uniform number, so that near centres, whose sheets are shells, are frequent.
        filling: range of the number of objects over that of a single layer per sheet, or of a single row per chain.
        order: how much the distance to the sheet counts for which points are kept, against chance, in [0, 1].
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
        """Whether each sample is arranged."""
        return source.coin("applied", self.p)

    def share(self, kept: PerSample, pitch: PerSample, source: Source) -> PerSample:
        """The share of lattice points that keep their object, ``[B]``; ``kept`` where nothing is arranged.

        Args:
            kept: ``[B]``, the share without an arrangement.
            pitch: ``[B]``, voxels between lattice points.
            source: draws.
        """
        first, second = (pitch[:, None] / draw(source, "spacing", self.spacing, 2)).unbind(1)
        layer = torch.where(self._chained(source), first * second, first)
        own = (draw(source, "filling", self.filling) * layer).clamp(max=1.0)
        return torch.where(self.applied(source), own, kept)

    def lottery(
        self, tickets: Lattice, point: Float32[Tensor, "b 3 n m k"], middle: float, source: Source
    ) -> Lattice:
        """Numbers in [0, 1] of which the lowest are kept; ``tickets`` where nothing is arranged.

        Args:
            tickets: ``[B, n, m, k]``, uniform in (0, 1).
            point: ``[B, 3, n, m, k]``, lattice points, voxels.
            middle: the middle of the scene along its longest axis, voxels.
            source: draws.
        """
        root = source.uniform("centre", -1.0, 1.0, 2, 3)
        spacing, phase = draw(source, "spacing", self.spacing, 2), source.uniform("phase", 0.0, 1.0, 2)
        both = sheets(point, root * root * root * self.centre + middle, spacing, phase)
        chained = self._chained(source)[:, None, None, None]
        distance = torch.where(chained, both.amax(1), both[:, 0])
        order = torch.where(self.applied(source)[:, None, None, None], self.order, 0.0)
        return torch.lerp(tickets, distance, order)

    def _chained(self, source: Source) -> Bool[Tensor, " b"]:
        return source.coin("chained", self.chains)
