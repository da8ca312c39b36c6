"""Intensities: a Gaussian mixture with one class an object, times a texture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, Volume, per_voxel
from anystar_torch.generator.interpolation import MEAN, noise_side_tap, side_tap
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.scene.background import RandomBackground
from anystar_torch.generator.scene.perlin import lattice_noise
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.kernels.filters import smooth
from anystar_torch.kernels.lattice import sample, sample_periodic
from anystar_torch.kernels.shading import VoxelFields, intensities
from anystar_torch.random.source import Source

PERIOD = 64
"""Voxels after which the white noise of the world repeats; nothing else does, so that no repetition can be seen."""

SEEN = 0.9
"""The share of the texture's range at its nodes that is seen at voxels, which mostly lie between nodes; measured.
The original rescales its texture by the range at voxels."""


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A rough field in [0, 1] that objects are multiplied by.

    Attributes:
        scales: voxels between the nodes of each of its parts, which are equally strong; finest first.
    """

    scales: Sequence[int]

    def __post_init__(self) -> None:
        if not self.scales or list(self.scales) != sorted(self.scales) or not 1 <= self.scales[0] <= 32:
            raise ValueError(f"scales must be voxels from 1 up, finest first, got {list(self.scales)}")

    def __call__(self, world: Sequence[int], source: Source) -> Float32[Tensor, "b 1 n m k"]:
        """The texture of a whole world at the nodes of its finest scale; about 0 to 1 at the world's voxels."""
        nodes = [-(-n // self.scales[0]) for n in world]
        field = lattice_noise(source, 1, world, self.scales, nodes)
        low, high = field.flatten(1).aminmax(dim=1)
        scale = 1.0 / (SEEN * (high - low))
        return torch.addcmul(per_voxel(0.5 - 0.5 / SEEN - low * scale), field, per_voxel(scale))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """From objects to intensities (AnyStar's second script).

    Intensity is ``mean + std * noise``, the noise white over the voxels of the world, times the texture inside
    objects and times the texture's mean outside, or times as much of the texture as ``ground_texture`` says.
    All is then brought to the scale on which the effects that follow are given: the original rescales its whole
    world to [0, 1]; what the least and the largest value of a world are is drawn here, as a sample sees only a
    part of it.

    Attributes:
        mean: range of the mean intensity of an object.
        spread: range of the share of ``mean`` over which the objects of one sample spread; 1 in AnyStar, whose objects
            are as unlike within a sample as between samples.
        std: range of the deviation of the noise in an object.
        texture: the texture.
        ground_texture: range of the share of the texture that shows outside of objects; 0 in AnyStar.
        background: what lies between objects.
        hollow: range of the share of the ground's intensity that is left where objects displace it.
        darkest: range of a world's least value.
        brightest: range of a world's largest value.
    """

    mean: Range
    spread: Range
    std: Range
    texture: Texture
    ground_texture: Range
    background: RandomBackground
    hollow: Range
    darkest: Range
    brightest: Range

    def __post_init__(self) -> None:
        check_range("mean", self.mean)
        check_range("spread", self.spread, 0.0, 1.0)
        check_range("std", self.std, 0.0)
        check_range("ground_texture", self.ground_texture, 0.0, 1.0)
        check_range("hollow", self.hollow, 0.0, 1.0)
        check_range("darkest", self.darkest)
        check_range("brightest", self.brightest, self.darkest[1])

    def __call__(
        self,
        objects: Labels,
        hollow: Bool[Tensor, "b 1 d h w"],
        coordinates: Coordinates,
        world: Sequence[int],
        source: Source,
    ) -> Volume:
        """The image of ``objects`` ``[B, 1, D, H, W]``, any number a voxel that names its object, 0 = none.

        ``hollow`` is where objects displace the ground, whether they shine there or not.
        """
        half = [(n - 1) / 2.0 for n in world]
        texture = self.texture(world, source("texture"))
        unit = source.uniform_at("mean", objects, 0.0, 1.0)
        start, width = self.means(source)
        # Means grow with `unit`, so that the object with the least of it is the darkest.
        least = torch.where(objects > 0, unit, torch.inf).flatten(1).amin(1)
        least = torch.minimum(start + width * least, torch.full_like(least, self.mean[1]))
        ground = self.background(coordinates.position, world, least, source("background"))
        level = texture.mean(-1).mean(-1).mean(-1)[:, 0]
        share = draw(source, "ground texture", self.ground_texture)
        fields = VoxelFields(
            objects,
            unit,
            source.uniform_at("std", objects, self.std[0], self.std[1]),
            hollow,
            sample(texture, coordinates.position, half),
            self.noise(coordinates, source),
        )
        shading = torch.stack([start, width, share, level, draw(source, "hollow", self.hollow)], dim=1)
        mean, grain = intensities(fields, ground.patch, ground.means, ground.stds, shading)
        low, high = draw(source, "darkest", self.darkest), draw(source, "brightest", self.brightest)
        # Zoom spreads edges; its noise is interpolated already. Rotation interpolates both once more.
        mean = smooth(mean, per_voxel(side_tap(1.0) * coordinates.spread))
        taps = torch.stack(
            [torch.full_like(least, tap) for tap in (side_tap(MEAN), noise_side_tap(MEAN))], dim=1
        )
        parts = smooth(torch.cat([mean, grain], dim=1), taps[:, :, None, None, None])
        image = parts[:, :1] + parts[:, 1:]
        return (image - per_voxel(low)) * per_voxel(1.0 / (high - low))

    def means(self, source: Source) -> tuple[PerSample, PerSample]:
        """Start and width of the part of ``mean`` over which the objects of each sample spread."""
        least, most = self.mean
        spread = draw(source, "spread", self.spread)
        start = least + (most - least) * (1.0 - spread) * source.uniform("start", 0.0, 1.0)
        return start, (most - least) * spread

    def noise(self, coordinates: Coordinates, source: Source) -> Volume:
        """White noise of the world's voxels, interpolated where the sample looks."""
        return sample_periodic(source.normal("noise", 1, PERIOD, PERIOD, PERIOD), coordinates.position)
