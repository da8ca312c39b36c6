"""What lies between objects: a dark ground, a ground of any brightness, or patches with sharp edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.augment.ranges import Range, check_range, draw
from anystar_torch.random import Source
from anystar_torch.synth.perlin import lattice_noise, sample
from anystar_torch.synth.shapes import lookup

CHUNK = 4
"""Fields evaluated at a time."""
ABSENT = -1e4
"""The value of a field that a sample does not have: below every other."""


@dataclass(frozen=True)
class Ground:
    """Mean and deviation of the intensity of the background in every voxel, before the texture's shade."""

    mean: Volume
    std: Volume


def strongest(
    fields: Float32[Tensor, "b c n m k"], position: Float32[Tensor, "b 3 d h w"], half: Sequence[float]
) -> Int32[Tensor, "b d h w"]:
    """The number of the field that is largest at each position; a few fields at a time, to bound memory."""
    best = torch.full_like(position[:, 0], -torch.inf)
    winner = torch.zeros_like(best, dtype=torch.int32)
    for start in range(0, fields.shape[1], CHUNK):
        for number, value in enumerate(
            sample(fields[:, start : start + CHUNK], position, half).unbind(1), start
        ):
            winner.masked_fill_(value > best, number)
            best = torch.maximum(best, value)
    return winner


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A partition of the world: the strongest of several smooth fields, looked at through a strong smooth warp.

    Deliberate difference: the original warps all fields alike only up to 16 of them, and blends two warps over the
    fields from 17 on, as its warp takes the fields for a fourth axis; here the warp is one for all.

    Attributes:
        most: the number of fields is drawn from 1 to this.
        scales: voxels between the nodes of the fields' parts, each of deviation 1.
        warp_scales: voxels between the nodes of the warp's parts.
        warp: deviation of each part of the warp at its nodes, voxels.
    """

    most: int
    scales: Sequence[int]
    warp_scales: Sequence[int]
    warp: float

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 64:
            raise ValueError(f"most must be 1 to 64 fields, got {self.most}")
        check_range("warp", (0.0, self.warp), 0.0)
        for name, scales in (("scales", self.scales), ("warp_scales", self.warp_scales)):
            if not scales or not all(1 <= scale <= 128 for scale in scales):
                raise ValueError(f"{name} must be 1 to 128 voxels, got {list(scales)}")

    def __call__(
        self, position: Float32[Tensor, "b 3 d h w"], world: Sequence[int], source: Source
    ) -> Int32[Tensor, "b d h w"]:
        """The patch of each position ``[B, 3, D, H, W]`` (voxels from the centre of the world), 0 to ``most`` - 1."""
        half = [(n - 1) / 2.0 for n in world]
        nodes = [self._nodes(n) for n in world]
        warp = lattice_noise(source("warp"), 3, world, self.warp_scales, nodes) * self.warp
        position = position + sample(warp, position, half)
        coarse = [-(-n // min(self.scales)) for n in world]
        fields = lattice_noise(source("fields"), self.most, world, self.scales, coarse)
        count = source.integers("count", 1, self.most + 1)
        there = torch.arange(self.most, device=position.device) < count[:, None]
        fields = torch.where(there[:, :, None, None, None], fields, ABSENT)
        # On the CPU, where looking costs nothing, fields that no sample has are left out.
        most = int(count.max()) if position.device.type == "cpu" else self.most
        return strongest(fields[:, :most], position, half)

    def _nodes(self, size: int) -> int:
        """Nodes of a lattice fine enough to carry all scales of the warp: twice as many as the finest has."""
        return 2 * -(-size // min(self.warp_scales))


@dataclass(frozen=True, kw_only=True)
class RandomBackground:
    """One of three grounds per sample.

    Attributes:
        plain: chance of a flat ground darker than every object.
        rand: chance of a flat ground of any brightness.
        perlin: chance of patches, each of any brightness. The three add up to 1.
        mean: range of the mean of a ground or patch.
        std: range of the deviation of the noise of a ground or patch.
        plain_std: the same of a plain ground.
        patches: the patches.
    """

    plain: float
    rand: float
    perlin: float
    mean: Range
    std: Range
    plain_std: Range
    patches: Patches

    def __post_init__(self) -> None:
        chances = (self.plain, self.rand, self.perlin)
        if min(chances) < 0.0 or abs(sum(chances) - 1.0) > 1e-3:
            raise ValueError(f"plain, rand and perlin must be chances that add up to 1, got {chances}")
        check_range("mean", self.mean)
        check_range("std", self.std, 0.0)
        check_range("plain_std", self.plain_std, 0.0)

    def __call__(
        self, position: Float32[Tensor, "b 3 d h w"], world: Sequence[int], least: PerSample, source: Source
    ) -> Ground:
        """Draw a ground per sample.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the world.
            world: (Z, Y, X), voxels.
            least: ``[B]``, the mean of the sample's darkest object.
            source: draws.
        """
        plain, perlin = self.is_plain(source), self._mode(source) >= self.plain + self.rand
        most = self.patches.most
        mean = draw(source, "mean", self.mean, most)
        std = draw(source, "std", self.std, most)
        # A world has about 50 objects; the sample may see few of them.
        others = draw(source, "others", self.mean, 50).amin(1)
        dark = torch.minimum(least, others) * source.uniform("shade", 0.0, 1.0)
        mean = torch.where(plain[:, None], dark[:, None], mean)
        std = torch.where(plain[:, None], draw(source, "plain_std", self.plain_std)[:, None], std)
        first = torch.arange(len(plain), dtype=torch.int32, device=plain.device) * most
        index = self._patch(perlin, position, world, source("patches")) + first[:, None, None, None]
        return Ground(lookup(mean.reshape(-1), index)[:, None], lookup(std.reshape(-1), index)[:, None])

    def _patch(
        self,
        chosen: Bool[Tensor, "b"],
        position: Float32[Tensor, "b 3 d h w"],
        world: Sequence[int],
        source: Source,
    ) -> Int32[Tensor, "b d h w"]:
        """The patch of each position in the chosen samples, else 0.

        On the CPU, where looking at ``chosen`` costs nothing, only those samples are computed.
        """
        if position.device.type != "cpu":
            return torch.where(chosen[:, None, None, None], self.patches(position, world, source), 0)
        patch = torch.zeros_like(position[:, 0], dtype=torch.int32)
        rows = chosen.nonzero()[:, 0]
        if len(rows):
            patch[rows] = self.patches(position[rows], world, source[rows])
        return patch

    def is_plain(self, source: Source) -> Bool[Tensor, "b"]:
        """Whether the ground that is drawn from ``source`` is flat and darker than every object."""
        return self._mode(source) < self.plain

    def _mode(self, source: Source) -> PerSample:
        return source.uniform("mode", 0.0, 1.0)
