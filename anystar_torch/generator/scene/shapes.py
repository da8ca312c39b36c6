"""The label field: bumpy balls on a jittered lattice, as a function of position.

AnyStar gives a voxel to the nearest centre among the balls that contain it, with all radii shifted by a noise at the
voxel. Two deliberate differences make every object star-convex about its centre, and so one piece, by construction:

- the noise is taken at the point where the ray from the centre through the voxel meets the ball, not at the voxel:
  the same roughness, but a boundary that every ray crosses once;
- touching balls are divided by ``distance - radius`` (the cells of Apollonius, which are star-convex) and not by
  ``distance`` among the balls that contain the voxel, which lets a larger ball show up behind a smaller one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import per_voxel
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.generator.scene.arrangement import RandomArrangement
from anystar_torch.generator.scene.surface import Aim, Surface
from anystar_torch.kernels.balls import aim_at_balls
from anystar_torch.random.source import Source

ABSENT = -1e4
"""The radius of a ball that was dropped: far below every other."""


@dataclass(frozen=True)
class Balls:
    """The balls of a batch, on a lattice with one empty layer around it.

    Attributes:
        centre: ``[B, 3, n, m, k]``, voxels.
        radius: ``[B, n, m, k]``, voxels; ``ABSENT`` where no ball is.
        pitch: ``[B]``, voxels between lattice points.
    """

    centre: Float32[Tensor, "b 3 n m k"]
    radius: Float32[Tensor, "b n m k"]
    pitch: Float32[Tensor, " b"]


@dataclass(frozen=True)
class Field:
    """The label field where a batch looks.

    Attributes:
        ball: ``[B, 1, D, H, W]``, the number of each voxel's ball, 1 and up, or 0 for none.
        depth: ``[B, 1, D, H, W]``, how far below the ball's surface, along the ray from its centre; world voxels.
        reach: ``[B, 1, D, H, W]``, how far that surface lies from the centre; world voxels.
        count: the largest number there can be.
    """

    ball: Int32[Tensor, "b 1 d h w"]
    depth: Float32[Tensor, "b 1 d h w"]
    reach: Float32[Tensor, "b 1 d h w"]
    count: int


def aimed(
    balls: Balls, position: Float32[Tensor, "b 3 d h w"], origin: Sequence[float]
) -> tuple[Aim, Float32[Tensor, "b 1 d h w"]]:
    """Each voxel's nearest ball and place on it, and its distance from the ball's centre, voxels.

    Args:
        balls: the balls.
        position: ``[B, 3, D, H, W]``, voxels.
        origin: (z, y, x), where the position 0 lies among the balls, voxels.
    """
    ball, centre, radius, direction, distance = aim_at_balls(
        balls.centre, balls.radius, balls.pitch, position, origin
    )
    count = balls.radius[0].numel()
    return Aim(ball, centre, radius, direction, balls.pitch / 2.0, count), distance


@dataclass(frozen=True, kw_only=True)
class BallField:
    """Balls on a jittered lattice (AnyStar's first script).

    Attributes:
        mean_radius: range of the mean radius, drawn per sample, voxels; the lattice has twice that pitch.
        radius: range of each ball's radius, in mean radii.
        jitter: largest shift of a centre along each axis, in mean radii.
        kept: range of the share of balls that are kept.
        surface: how far the surface of a ball lies from its centre. At most ``2 - jitter`` mean radii count: so far
            reach the balls of the 8 lattice points around a voxel before another could come nearer.
        variety: range of a factor on how far radii lie from the middle of ``radius``, drawn per sample: 1 for
            AnyStar's sizes, more for a wider range of sizes in one sample.
        arrangement: what puts the objects of some samples into sheets and chains; None for AnyStar's random subset.
    """

    mean_radius: Range
    radius: Range
    jitter: float
    kept: Range
    surface: Surface
    variety: Range = (1.0, 1.0)
    arrangement: RandomArrangement | None = None

    def __post_init__(self) -> None:
        check_range("mean_radius", self.mean_radius, 2.0, 64.0)
        check_range("radius", self.radius, 0.05, 1.5)
        check_range("kept", self.kept, 0.0, 1.0)
        check_chance("jitter", self.jitter)
        check_range("variety", self.variety, 0.0, 2.5)

    def __call__(
        self, position: Float32[Tensor, "b 3 d h w"], world: Sequence[int], source: Source
    ) -> "Field":
        """What is there at every position.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the world; the world is empty beyond its faces.
            world: (Z, Y, X), voxels.
            source: draws.
        """
        mean = draw(source, "mean_radius", self.mean_radius)
        balls = self.balls(mean, world, source)
        aim, distance = aimed(balls, position, [(n - 1) / 2.0 for n in world])
        limit = per_voxel(mean * (2.0 - self.jitter))
        reach = torch.minimum(self.surface(aim, world, source("surface")), limit)
        filled = distance < reach
        return Field(torch.where(filled, aim.ball + 1, 0), reach - distance, reach, balls.radius[0].numel())

    def balls(self, mean: Float32[Tensor, " b"], world: Sequence[int], source: Source) -> Balls:
        """Draw the balls of a world: centres at ``2 mean (1, 2, ...)`` plus jitter, a random subset kept."""
        pitch = 2.0 * mean
        lattice = [self._points(n) + 2 for n in world]
        axes = [torch.arange(n, dtype=torch.float32, device=mean.device) for n in lattice]
        point = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        jitter = source.uniform("jitter", -self.jitter, self.jitter, 3, *lattice)
        centre = point * per_voxel(pitch) + jitter * per_voxel(mean)
        radius = self._relative(draw(source, "radius", self.radius, *lattice), source)
        radius = radius * mean[:, None, None, None]
        # as numpy's arange(0, n, pitch)[1:-1], but at least one
        inverse = pitch.reciprocal()
        last = (torch.stack([inverse * n for n in world], dim=1).ceil() - 1.0).clamp(min=2.0)
        there = ((point > 0.0) & (point < last[:, :, None, None, None])).all(1)
        tickets = source.uniform("lottery", 0.0, 1.0, *lattice)
        if self.arrangement is not None:
            middle = (max(world) - 1) / 2.0
            tickets = self.arrangement.lottery(tickets, centre, middle, source("arrangement"))
        kept = self._kept(there, tickets, pitch, source)
        return Balls(centre, torch.where(kept, radius, ABSENT), pitch)

    def _relative(self, radius: Float32[Tensor, "b n m k"], source: Source) -> Float32[Tensor, "b n m k"]:
        """Radii in mean radii, with each sample's own variety."""
        if tuple(self.variety) == (1.0, 1.0):
            return radius
        middle = (self.radius[0] + self.radius[1]) / 2.0
        variety = draw(source, "variety", self.variety)[:, None, None, None]
        return ((radius - middle) * variety + middle).clamp(0.05, 1.5)

    def _points(self, size: int) -> int:
        """The most lattice points an axis can have."""
        return max(-int(-size // (2.0 * self.mean_radius[0])) - 2, 1)

    def _kept(
        self,
        there: Bool[Tensor, "b n m k"],
        tickets: Float32[Tensor, "b n m k"],
        pitch: Float32[Tensor, " b"],
        source: Source,
    ) -> Bool[Tensor, "b n m k"]:
        """The lattice points with the lowest tickets, of those that are there; how many is random."""
        lottery = torch.where(there, tickets, 2.0).flatten(1)
        total = there.flatten(1).sum(1)
        low, high = self.kept
        share = source.uniform("kept", low, high)
        if self.arrangement is not None:
            share = self.arrangement.share(share, pitch, source("arrangement"))
        count = (share * total).floor().to(torch.int64)
        ordered = torch.cat([lottery.sort(dim=1).values, torch.full_like(lottery[:, :1], 3.0)], dim=1)
        limit = ordered.gather(1, count[:, None])
        return (lottery < limit).view(there.shape) & there
