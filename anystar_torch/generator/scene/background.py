"""What lies between objects: a dark ground, a ground of any brightness, or patches with sharp edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.scene.perlin import lattice_noise
from anystar_torch.kernels.lattice import strongest_field
from anystar_torch.random.source import Source


@dataclass(frozen=True)
class Ground:
    """Mean and deviation of the intensity of the background, before the texture's shade.

    Attributes:
        patch: ``[B, D, H, W]``, which of its sample's patches each voxel belongs to.
        means: ``[B, most]``, mean intensity of each patch.
        stds: ``[B, most]``, deviation of each patch.
    """

    patch: Int32[Tensor, "b d h w"]
    means: Float32[Tensor, "b most"]
    stds: Float32[Tensor, "b most"]


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
        self,
        position: Float32[Tensor, "b 3 d h w"],
        world: Sequence[int],
        source: Source,
        chosen: Bool[Tensor, " b"],
    ) -> Int32[Tensor, "b d h w"]:
        """The patch of each position, 0 to ``most`` - 1; 0 in samples that are not chosen.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the world.
            world: (Z, Y, X), voxels.
            source: draws.
            chosen: ``[B]``, the samples that have patches.
        """
        half = [(n - 1) / 2.0 for n in world]
        nodes = [self._nodes(n) for n in world]
        warp = lattice_noise(source("warp"), 3, world, self.warp_scales, nodes) * self.warp
        coarse = [-(-n // min(self.scales)) for n in world]
        fields = lattice_noise(source("fields"), self.most, world, self.scales, coarse)
        count = source.integers("count", 1, self.most + 1) * chosen
        return strongest_field(fields, position, half, count.to(torch.int32), warp)

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
        return Ground(self.patches(position, world, source("patches"), perlin), mean, std)

    def is_plain(self, source: Source) -> Bool[Tensor, " b"]:
        """Whether the ground that is drawn from ``source`` is flat and darker than every object."""
        return self._mode(source) < self.plain

    def _mode(self, source: Source) -> PerSample:
        return source.uniform("mode", 0.0, 1.0)
