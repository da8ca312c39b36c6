"""The background: dark and flat, flat of any brightness, or patches with sharp edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import (
    Range,
    check_chance,
    check_given,
    check_range,
    check_whole,
    check_whole_numbers,
    draw,
)
from anystar_torch.generator.scene.perlin import lattice_noise
from anystar_torch.kernels.lattice import strongest_field
from anystar_torch.random.source import Source

OBJECTS = 50
"""Objects outside of the sample that a plain background is darker than. Their means are drawn from the range of the
background (``RandomBackground.mean``), which may differ from that of the objects of the mixture."""


@dataclass(frozen=True)
class Background:
    """Intensity of the background before the texture.

    Attributes:
        patch: ``[B, D, H, W]``, index of the patch of each voxel.
        means: ``[B, P]``, mean intensity of each patch.
        stds: ``[B, P]``, standard deviation of the noise in each patch.
    """

    patch: Int32[Tensor, "b d h w"]
    means: Float32[Tensor, "b most"]
    stds: Float32[Tensor, "b most"]


@dataclass(frozen=True)
class BackgroundDraws:
    """Drawn parameters of the background of each sample.

    Attributes:
        plain: ``[B]``, whether it is flat and darker than every object of the sample.
        patched: ``[B]``, whether it has patches.
        means: ``[B, P]``, mean intensity of each patch of a background that is not plain.
        stds: ``[B, P]``, standard deviation of the noise in each patch.
        darkest: ``[B]``, the least of :data:`OBJECTS` means from the range of the background. It stands for the objects
            outside of the sample.
        shade: ``[B]``, mean of a plain background over the lesser of ``darkest`` and the mean of the darkest object of
            the sample.
        plain_std: ``[B]``, standard deviation of the noise of a plain background.
    """

    plain: Bool[Tensor, " b"]
    patched: Bool[Tensor, " b"]
    means: Float32[Tensor, "b most"]
    stds: Float32[Tensor, "b most"]
    darkest: PerSample
    shade: PerSample
    plain_std: PerSample


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A partition of the scene: each position belongs to the largest of several smooth fields, after a smooth warp.

    Difference to AnyStar: all fields share one warp. AnyStar's warp takes the fields for a fourth axis, so that fields
    17 to 20 get a mixture of two warps.

    Attributes:
        most: the number of fields is drawn from 1 to this.
        scales: distances between the nodes of the parts of a field, voxels, all different. Each part has standard
            deviation 1.
        warp_scales: distances between the nodes of the parts of the warp, voxels, all different.
        warp: standard deviation of each part of the warp at its nodes, voxels.
    """

    most: int
    scales: Sequence[int]
    warp_scales: Sequence[int]
    warp: float

    def __post_init__(self) -> None:
        check_whole("most", self.most, 1, 64)
        check_range("warp", (0.0, self.warp), 0.0)
        check_whole_numbers("scales", self.scales, 1, 128, different=True)
        check_whole_numbers("warp_scales", self.warp_scales, 1, 128, different=True)

    def __call__(
        self,
        position: Float32[Tensor, "b 3 d h w"],
        scene_shape: Sequence[int],
        source: Source,
        patched: Bool[Tensor, " b"],
    ) -> Int32[Tensor, "b d h w"]:
        """Patch of each position, 0 to ``most`` - 1, ``[B, D, H, W]``; 0 in samples without patches.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the scene.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
            patched: ``[B]``, whether a sample has patches.
        """
        half = [(n - 1) / 2.0 for n in scene_shape]
        nodes = [self._nodes(n) for n in scene_shape]
        warp = lattice_noise(source("warp"), 3, scene_shape, self.warp_scales, nodes) * self.warp
        coarse = [-(-n // min(self.scales)) for n in scene_shape]
        fields = lattice_noise(source("fields"), self.most, scene_shape, self.scales, coarse)
        count = source.integers("count", 1, self.most + 1) * patched
        return strongest_field(fields, position, half, count.to(torch.int32), warp)

    def _nodes(self, size: int) -> int:
        """Nodes along an axis of a lattice that represents all scales of the warp: twice those of the finest."""
        return 2 * -(-size // min(self.warp_scales))


@dataclass(frozen=True, kw_only=True)
class RandomBackground:
    """One of three kinds of background per sample.

    Attributes:
        plain: chance of a flat background that is darker than every object of the sample.
        rand: chance of a flat background of any brightness.
        perlin: chance of patches, each of any brightness. The three chances add up to 1.
        mean: range of the mean intensity of a flat background or of a patch.
        std: range of the standard deviation of the noise of a flat background or of a patch.
        plain_std: range of the standard deviation of the noise of a plain background.
        patches: the partition into patches.
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
        for name, chance in zip(("plain", "rand", "perlin"), chances, strict=True):
            check_chance(name, chance)
        if abs(sum(chances) - 1.0) > 1e-3:
            raise ValueError(f"plain, rand and perlin must be chances that add up to 1, got {chances}")
        check_range("mean", self.mean)
        check_range("std", self.std, 0.0)
        check_range("plain_std", self.plain_std, 0.0)
        check_given(patches=self.patches)

    def draw(self, source: Source) -> BackgroundDraws:
        """Draw the parameters of the background of each sample.

        Args:
            source: draws of the background.
        """
        mode, most = source.uniform("mode", 0.0, 1.0), self.patches.most
        return BackgroundDraws(
            plain=mode < self.plain,
            patched=mode >= self.plain + self.rand,
            means=draw(source, "mean", self.mean, most),
            stds=draw(source, "std", self.std, most),
            darkest=draw(source, "others", self.mean, OBJECTS).amin(1),
            shade=source.uniform("shade", 0.0, 1.0),
            plain_std=draw(source, "plain_std", self.plain_std),
        )

    def __call__(
        self,
        position: Float32[Tensor, "b 3 d h w"],
        scene_shape: Sequence[int],
        darkest: PerSample,
        drawn: BackgroundDraws,
        source: Source,
    ) -> Background:
        """Render the background of each sample.

        Args:
            position: ``[B, 3, D, H, W]``, voxels from the centre of the scene.
            scene_shape: (Z, Y, X), voxels.
            darkest: ``[B]``, mean intensity of the darkest object of the sample.
            drawn: what :meth:`draw` returned.
            source: the same draws as for :meth:`draw`; the fields of patches are drawn here.
        """
        plain, dark = drawn.plain[:, None], torch.minimum(darkest, drawn.darkest) * drawn.shade
        means = torch.where(plain, dark[:, None], drawn.means)
        stds = torch.where(plain, drawn.plain_std[:, None], drawn.stds)
        return Background(self.patches(position, scene_shape, source("patches"), drawn.patched), means, stds)
