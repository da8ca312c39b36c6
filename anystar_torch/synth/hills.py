"""An uneven ground: smooth hills and hollows between the objects that are no objects themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.augment.ranges import Range, check_chance, check_range, draw
from anystar_torch.random import Source
from anystar_torch.synth.perlin import lattice_noise, sample


@dataclass(frozen=True, kw_only=True)
class RandomHills:
    """Hills and hollows of one size a sample, as light from layers out of focus and uneven stains leave them.

    No counterpart in AnyStar, whose grounds are flat between the edges of their patches. Texture
    (:class:`~anystar_torch.synth.gmm.Texture`) does not do their work: it multiplies objects and ground alike, so that
    an edge is seen wherever there is an object.

    Attributes:
        p: chance of hills.
        height: range of their deviation at the lattice's nodes, in contrasts between the sample's objects and its
            ground; averaged over voxels it is 0.54 of that, as values between nodes are means of theirs.
        scales: voxels between the nodes of the hills; each sample has one of them.
    """

    p: float
    height: Range
    scales: Sequence[int]

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("height", self.height, 0.0, 2.0)
        if not self.scales or list(self.scales) != sorted(self.scales) or not 1 <= self.scales[0] <= 64:
            raise ValueError(f"scales must be voxels from 1 up, finest first, got {list(self.scales)}")

    def __call__(
        self, position: Float32[Tensor, "b 3 d h w"], world: Sequence[int], source: Source
    ) -> Volume:
        """Heights ``[B, 1, D, H, W]`` in contrasts, about 0, at ``position`` (voxels from the centre of the world)."""
        field = self.field(world, source)
        return per_voxel(self.heights(source)) * sample(field, position, [(n - 1) / 2.0 for n in world])

    def field(self, world: Sequence[int], source: Source) -> Float32[Tensor, "b 1 n m k"]:
        """White noise of deviation 1 on each sample's lattice, at the nodes of the finest."""
        nodes = [-(-n // self.scales[0]) for n in world]
        fields = [lattice_noise(source, 1, world, [scale], nodes) for scale in self.scales]
        chosen = source.integers("scale", 0, len(self.scales))
        one = chosen[:, None] == torch.arange(len(self.scales), device=chosen.device)
        return torch.where(one[:, :, None, None, None], torch.cat(fields, dim=1), 0.0).sum(1, keepdim=True)

    def heights(self, source: Source) -> PerSample:
        """The deviation of each sample's hills at their nodes, in contrasts; 0 without hills."""
        return torch.where(source.coin("there", self.p), draw(source, "height", self.height), 0.0)
