"""The label field: balls with uneven surfaces on a jittered lattice, as a function of position.

AnyStar assigns a voxel to the nearest centre among the balls that contain it. Noise at the voxel shifts all radii.
Two differences make every object here star-convex about its centre, and therefore connected:

- The noise is taken where the ray from the centre through the voxel meets the ball, not at the voxel. The roughness
  is the same, but every ray crosses the boundary once.
- ``distance - radius`` divides touching balls (Apollonius cells, which are star-convex). With ``distance`` among the
  balls that contain the voxel, as in AnyStar, a larger ball can appear behind a smaller one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import per_voxel
from anystar_torch.generator.parameters import Range, check_chance, check_given, check_range, draw
from anystar_torch.generator.scene.arrangement import RandomArrangement
from anystar_torch.generator.scene.surface import BallCoordinates, Surface
from anystar_torch.kernels.balls import aim_at_balls
from anystar_torch.random.source import Source

ABSENT = -1e4
"""The radius at lattice points without a ball: far below every other radius."""
MIRROR_IMAGES = 27**3
"""Mirror images of a scene that have numbers of their own: 27 for each of three reflections (affine, zoom, density)."""


@dataclass(frozen=True)
class Balls:
    """The balls of a batch, on a lattice with one empty layer on each side.

    Attributes:
        centre: ``[B, 3, n, m, k]``, voxels.
        radius: ``[B, n, m, k]``, voxels; ``ABSENT`` where there is no ball.
        pitch: ``[B]``, distance between lattice points, voxels.
    """

    centre: Float32[Tensor, "b 3 n m k"]
    radius: Float32[Tensor, "b n m k"]
    pitch: Float32[Tensor, " b"]


@dataclass(frozen=True)
class LabelField:
    """The label field at the voxels of a batch.

    Attributes:
        ball: ``[B, 1, D, H, W]``, number of each voxel's ball, from 1; 0 for the background.
        depth: ``[B, 1, D, H, W]``, distance below the surface of the ball along the ray from its centre, voxels of
            the scene.
        reach: ``[B, 1, D, H, W]``, distance of that surface from the centre, voxels of the scene.
        count: the largest possible number of a ball.
    """

    ball: Int32[Tensor, "b 1 d h w"]
    depth: Float32[Tensor, "b 1 d h w"]
    reach: Float32[Tensor, "b 1 d h w"]
    count: int


def nearest_balls(
    balls: Balls, position: Float32[Tensor, "b 3 d h w"], origin: Sequence[float]
) -> tuple[BallCoordinates, Float32[Tensor, "b 1 d h w"]]:
    """The nearest ball of each voxel and the place on it, and ``[B, 1, D, H, W]`` distances from its centre, voxels.

    Args:
        balls: the balls.
        position: ``[B, 3, D, H, W]``, voxels.
        origin: (z, y, x), place of the position 0 in the coordinates of the balls, voxels.
    """
    ball, centre, radius, direction, distance = aim_at_balls(
        balls.centre, balls.radius, balls.pitch, position, origin
    )
    count = balls.radius.shape[1:].numel()
    return BallCoordinates(ball, centre, radius, direction, balls.pitch / 2.0, count), distance


@dataclass(frozen=True, kw_only=True)
class BallField:
    """Balls on a jittered lattice (AnyStar's first script).

    Attributes:
        mean_radius: range of the mean radius, drawn per sample, voxels; the pitch of the lattice is twice that.
        radius: range of the radius of each ball, in mean radii.
        jitter: largest shift of a centre along each axis, in mean radii.
        occupancy: range of the share of lattice points that have a ball.
        surface: distance of the surface of a ball from its centre. It is limited to ``2 - jitter`` mean radii: within
            this distance the nearest ball is one of the 8 lattice points around a voxel.
        variety: range of a factor, drawn per sample, on the deviation of radii from the middle of ``radius``. 1 in
            AnyStar; larger factors give a wider range of sizes within a sample.
        arrangement: puts the objects of some samples into sheets and chains; None for AnyStar's random subset.
    """

    mean_radius: Range
    radius: Range
    jitter: float
    occupancy: Range
    surface: Surface
    variety: Range = (1.0, 1.0)
    arrangement: RandomArrangement | None = None

    def __post_init__(self) -> None:
        check_range("mean_radius", self.mean_radius, 2.0, 64.0)
        check_range("radius", self.radius, 0.05, 1.5)
        check_range("occupancy", self.occupancy, 0.0, 1.0)
        check_chance("jitter", self.jitter)
        check_range("variety", self.variety, 0.0, 2.5)
        check_given(surface=self.surface)

    def count(self, scene_shape: Sequence[int]) -> int:
        """Largest number of a ball in a scene, over all samples.

        Args:
            scene_shape: (Z, Y, X), voxels.
        """
        return math.prod(self._lattice(scene_shape))

    def check_numbers(self, scene_shape: Sequence[int]) -> None:
        """Check that all balls and their mirror images have different numbers below 2^31.

        Args:
            scene_shape: (Z, Y, X), voxels.

        Raises:
            ValueError: the scene has too many balls.
        """
        count, most = self.count(scene_shape), ((1 << 31) - 1) // MIRROR_IMAGES
        if count > most:
            raise ValueError(
                f"scene.objects.mean_radius={list(self.mean_radius)} gives up to {count} objects in a scene of "
                f"{tuple(scene_shape)} voxels, and at most {most} can be numbered: make its lower bound larger, or "
                "the shape of the samples smaller"
            )

    def __call__(
        self, position: Float32[Tensor, "b 3 d h w"], scene_shape: Sequence[int], source: Source
    ) -> LabelField:
        """The label field at every position; there are no objects beyond the faces of the scene.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the scene.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        mean = draw(source, "mean_radius", self.mean_radius)
        balls = self.balls(mean, scene_shape, source)
        nearest, distance = nearest_balls(balls, position, [(n - 1) / 2.0 for n in scene_shape])
        limit = per_voxel(mean * (2.0 - self.jitter))
        reach = torch.minimum(self.surface(nearest, scene_shape, source("surface")), limit)
        filled = distance < reach
        ball = torch.where(filled, nearest.ball + 1, 0)
        return LabelField(ball, reach - distance, reach, nearest.count)

    def balls(self, mean: Float32[Tensor, " b"], scene_shape: Sequence[int], source: Source) -> Balls:
        """Draw the balls of a scene: centres at ``2 mean (1, 2, ...)`` plus jitter, at a random subset of the lattice.

        Args:
            mean: ``[B]``, mean radius, voxels.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        pitch = 2.0 * mean
        lattice = self._lattice(scene_shape)
        axes = [torch.arange(n, dtype=torch.float32, device=mean.device) for n in lattice]
        point = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        jitter = source.uniform("jitter", -self.jitter, self.jitter, 3, *lattice)
        centre = point * per_voxel(pitch) + jitter * per_voxel(mean)
        radius = self._relative(draw(source, "radius", self.radius, *lattice), source)
        radius = radius * mean[:, None, None, None]
        # Lattice points as numpy's arange(0, n, pitch)[1:-1], but at least one.
        inverse = pitch.reciprocal()
        last = (torch.stack([inverse * n for n in scene_shape], dim=1).ceil() - 1.0).clamp(min=2.0)
        there = ((point > 0.0) & (point < last[:, :, None, None, None])).all(1)
        sort_key = source.uniform("lottery", 0.0, 1.0, *lattice)  # "lottery" is the name of a random stream
        if self.arrangement is not None:
            middle = [(n - 1) / 2.0 for n in scene_shape]
            sort_key = self.arrangement.sort_key(sort_key, centre, middle, source("arrangement"))
        occupied = self._occupied(there, sort_key, pitch, source)
        return Balls(centre, torch.where(occupied, radius, ABSENT), pitch)

    def _relative(self, radius: Float32[Tensor, "b n m k"], source: Source) -> Float32[Tensor, "b n m k"]:
        """Radii in mean radii, ``[B, n, m, k]``, with the variety of each sample applied."""
        if tuple(self.variety) == (1.0, 1.0):
            return radius
        middle = (self.radius[0] + self.radius[1]) / 2.0
        variety = draw(source, "variety", self.variety)[:, None, None, None]
        return ((radius - middle) * variety + middle).clamp(0.05, 1.5)

    def _lattice(self, scene_shape: Sequence[int]) -> list[int]:
        """Largest possible numbers of lattice points along z, y, x, with the two empty layers."""
        return [max(-int(-n // (2.0 * self.mean_radius[0])) - 2, 1) + 2 for n in scene_shape]

    def _occupied(
        self,
        there: Bool[Tensor, "b n m k"],
        sort_key: Float32[Tensor, "b n m k"],
        pitch: Float32[Tensor, " b"],
        source: Source,
    ) -> Bool[Tensor, "b n m k"]:
        """Lattice points that have a ball, ``[B, n, m, k]``: a random number of those with the lowest keys."""
        keys = torch.where(there, sort_key, 2.0).flatten(1)
        total = there.flatten(1).sum(1)
        share = draw(source, "kept", self.occupancy)  # "kept" is the name of a random stream
        if self.arrangement is not None:
            share = self.arrangement.share(share, pitch, source("arrangement"))
        count = (share * total).floor().to(torch.int64)
        ordered = torch.cat([keys.sort(dim=1).values, torch.full_like(keys[:, :1], 3.0)], dim=1)
        limit = ordered.gather(1, count[:, None])
        return (keys < limit).view(there.shape) & there
