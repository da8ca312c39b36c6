"""Intensities: a Gaussian mixture with one class per object, times a texture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, Volume, per_voxel
from anystar_torch.generator.interpolation import MEAN_SPREAD, noise_side_tap, side_tap
from anystar_torch.generator.parameters import Range, check_given, check_range, check_whole_numbers, draw
from anystar_torch.generator.scene.background import BackgroundDraws, RandomBackground
from anystar_torch.generator.scene.perlin import lattice_noise
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.kernels.filters import smooth
from anystar_torch.kernels.lattice import sample, sample_periodic
from anystar_torch.kernels.shading import VoxelFields, intensities
from anystar_torch.random.source import Source

PERIOD = 64
"""Voxels after which the white noise of the scene repeats. Mean, noise level and texture do not repeat with it."""

SAMPLED_RANGE = 0.9
"""Range of the texture at voxels over its range at its nodes, measured; most voxels lie between nodes.
AnyStar rescales its texture by the range at voxels."""

NOT_EMITTING = 1e30
"""Place of voxels outside of objects in the range of means, where the least place is searched. It is finite: times a
range of width 0 it is 0."""


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A rough field in [0, 1], a factor on the intensity of objects.

    Attributes:
        scales: distances between the nodes of its parts, voxels, finest first, the finest at most 32. All parts are
            equally strong. Each scale has its own random field, so equal ones are refused.
    """

    scales: Sequence[int]

    def __post_init__(self) -> None:
        check_whole_numbers("scales", self.scales, 1, different=True)
        if list(self.scales) != sorted(self.scales) or self.scales[0] > 32:
            raise ValueError(
                "scales must be different whole numbers, finest first, the finest at most 32, "
                f"got {list(self.scales)}"
            )

    def check_nodes(self, scene_shape: Sequence[int]) -> None:
        """Check that the finest scale has more than one node in a scene: one node has no range to scale.

        Args:
            scene_shape: (Z, Y, X), voxels.

        Raises:
            ValueError: the finest scale is as long as the scene.
        """
        if self.scales[0] >= max(scene_shape):
            raise ValueError(
                f"scene.mixture.texture.scales={list(self.scales)} must begin below the size of the scene, which "
                f"is {tuple(scene_shape)} voxels"
            )

    def __call__(self, scene_shape: Sequence[int], source: Source) -> Float32[Tensor, "b 1 n m k"]:
        """The texture of a scene at the nodes of its finest scale, ``[B, 1, n, m, k]``; about 0 to 1 at voxels.

        Args:
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        nodes = [-(-n // self.scales[0]) for n in scene_shape]
        field = lattice_noise(source, 1, scene_shape, self.scales, nodes)
        low, high = field.flatten(1).aminmax(dim=1)
        scale = 1.0 / (SAMPLED_RANGE * (high - low))
        return torch.addcmul(per_voxel(0.5 - 0.5 / SAMPLED_RANGE - low * scale), field, per_voxel(scale))


@dataclass(frozen=True, kw_only=True)
class SceneLimits:
    """Least and largest intensity of a scene, which become 0 and 1 (AnyStar).

    A sample shows only a part of its scene, so both are drawn and not measured.

    Attributes:
        darkest: range of the least intensity.
        brightest: range of the largest intensity; it begins above the end of ``darkest``.
    """

    darkest: Range
    brightest: Range

    def __post_init__(self) -> None:
        check_range("limits.darkest", self.darkest)
        check_range("limits.brightest", self.brightest)
        if self.brightest[0] <= self.darkest[1]:
            raise ValueError(
                "limits.brightest must begin above the end of limits.darkest, "
                f"got {list(self.brightest)} and {list(self.darkest)}"
            )


@dataclass(frozen=True)
class IntensityDraws:
    """Drawn parameters of the intensities of each sample; ``[B]`` each.

    Attributes:
        start: least mean intensity of an object.
        width: range of the mean intensities of objects.
        background_texture: share of the texture that the background shows.
        displaced_intensity: share of the background's intensity that is left where objects displace it.
        darkest: least intensity of the scene.
        brightest: largest intensity of the scene.
        background: parameters of the background.
    """

    start: PerSample
    width: PerSample
    background_texture: PerSample
    displaced_intensity: PerSample
    darkest: PerSample
    brightest: PerSample
    background: BackgroundDraws


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """From objects to intensities: a Gaussian mixture with one class per object (AnyStar's second script).

    The intensity is ``(mean + std * noise) * texture`` inside of objects, with white noise on the voxels of the scene.
    In the background the factor is the mean of the texture, or a mixture of both (``background_texture``). AnyStar
    then rescales its scene to [0, 1].

    Attributes:
        mean: range of the mean intensity of an object.
        spread: range of the share of ``mean`` that the objects of one sample cover. 1 in AnyStar, whose objects differ
            as much within a sample as between samples.
        std: range of the standard deviation of the noise in an object.
        texture: the texture.
        background_texture: range of the share of the texture that the background shows; 0 in AnyStar.
        background: the background.
        displaced_intensity: range of the share of the background's intensity that is left where objects displace it.
        limits: least and largest intensity of a scene.
    """

    mean: Range
    spread: Range
    std: Range
    texture: Texture
    background_texture: Range
    background: RandomBackground
    displaced_intensity: Range
    limits: SceneLimits

    def __post_init__(self) -> None:
        check_range("mean", self.mean)
        check_range("spread", self.spread, 0.0, 1.0)
        check_range("std", self.std, 0.0)
        check_range("background_texture", self.background_texture, 0.0, 1.0)
        check_range("displaced_intensity", self.displaced_intensity, 0.0, 1.0)
        check_given(texture=self.texture, background=self.background, limits=self.limits)

    def draw(self, source: Source) -> IntensityDraws:
        """Draw the parameters of each sample. "ground texture" and "hollow" are names of random streams.

        Args:
            source: draws of the mixture.
        """
        least, most = self.mean
        spread = draw(source, "spread", self.spread)
        return IntensityDraws(
            start=least + (most - least) * (1.0 - spread) * source.uniform("start", 0.0, 1.0),
            width=(most - least) * spread,
            background_texture=draw(source, "ground texture", self.background_texture),
            displaced_intensity=draw(source, "hollow", self.displaced_intensity),
            darkest=draw(source, "darkest", self.limits.darkest),
            brightest=draw(source, "brightest", self.limits.brightest),
            background=self.background.draw(source("background")),
        )

    def __call__(
        self,
        objects: Labels,
        displaced: Bool[Tensor, "b 1 d h w"],
        coordinates: Coordinates,
        scene_shape: Sequence[int],
        drawn: IntensityDraws,
        source: Source,
    ) -> Volume:
        """Render the intensities, ``[B, 1, D, H, W]``.

        Args:
            objects: ``[B, 1, D, H, W]``, any number above 0 that names the object of an emitting voxel, 0 elsewhere.
            displaced: ``[B, 1, D, H, W]``, voxels where objects displace the background, emitting or not.
            coordinates: position of every voxel in the scene.
            scene_shape: (Z, Y, X), voxels.
            drawn: what :meth:`draw` returned.
            source: the same draws as for :meth:`draw`; noise and textures are drawn here.
        """
        half = [(n - 1) / 2.0 for n in scene_shape]
        texture = self.texture(scene_shape, source("texture"))
        unit = source.uniform_at("mean", objects, 0.0, 1.0)
        # Means grow with `unit`, so the object with the least `unit` is the darkest.
        least = torch.where(objects > 0, unit, NOT_EMITTING).flatten(1).amin(1)
        least = torch.minimum(drawn.start + drawn.width * least, torch.full_like(least, self.mean[1]))
        background = self.background(
            coordinates.position, scene_shape, least, drawn.background, source("background")
        )
        fields = VoxelFields(
            objects,
            unit,
            source.uniform_at("std", objects, self.std[0], self.std[1]),
            displaced,
            sample(texture, coordinates.position, half),
            self.noise(coordinates, source),
        )
        level = texture.mean(-1).mean(-1).mean(-1)[:, 0]
        shading = [drawn.start, drawn.width, drawn.background_texture, level, drawn.displaced_intensity]
        mean, noise = intensities(
            fields, background.patch, background.means, background.stds, torch.stack(shading, dim=1)
        )
        image = interpolated(mean, noise, coordinates.spread)
        return (image - per_voxel(drawn.darkest)) * per_voxel(1.0 / (drawn.brightest - drawn.darkest))

    def noise(self, coordinates: Coordinates, source: Source) -> Volume:
        """White noise of the voxels of the scene, interpolated at the position of every voxel of the sample.

        Args:
            coordinates: positions of the voxels of the sample in the scene.
            source: draws of the mixture.
        """
        return sample_periodic(source.normal("noise", 1, PERIOD, PERIOD, PERIOD), coordinates.position)


def interpolated(mean: Volume, noise: Volume, spread: PerSample) -> Volume:
    """``mean + noise``, with edges as wide and noise as weak as AnyStar's interpolations leave them.

    Zoom widens edges; its noise is interpolated already. Rotation interpolates mean and noise once more.

    Args:
        mean: ``[B, 1, D, H, W]``.
        noise: ``[B, 1, D, H, W]``.
        spread: ``[B]``, variance by which the zoom widens an edge, squared voxels, at most
            :data:`~anystar_torch.generator.interpolation.LARGEST_SPREAD`.
    """
    mean = smooth(mean, per_voxel(side_tap(1.0) * spread))
    taps = torch.stack(
        [torch.full_like(spread, tap) for tap in (side_tap(MEAN_SPREAD), noise_side_tap(MEAN_SPREAD))], dim=1
    )
    parts = smooth(torch.cat([mean, noise], dim=1), taps[:, :, None, None, None])
    return parts[:, :1] + parts[:, 1:]
