"""A camera that counts photons: shot noise and read noise."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels import noise
from anystar_torch.kernels.intensities import intensity_limits
from anystar_torch.random.source import Source


def camera(
    image: Volume,
    photons: PerSample,
    background: PerSample,
    read: PerSample,
    shot: Volume,
    electronic: Volume,
) -> Volume:
    """Record the image with a camera of gain 1.

    The range of intensities of a sample stands for 0 to ``photons`` photons, in addition to ``background`` photons.
    Counts are Poisson, read noise is added, and the result is scaled back to intensities.

    Args:
        image: ``[B, 1, D, H, W]``.
        photons: ``[B]``, expected photons of the brightest voxel above the background.
        background: ``[B]``, expected photons everywhere (stray light, autofluorescence, dark current).
        read: ``[B]``, standard deviation of the read noise in electrons.
        shot: ``[B, 1, D, H, W]``, standard normal.
        electronic: ``[B, 1, D, H, W]``, standard normal.
    """
    cameras = torch.stack([photons, background, read], dim=1)
    return noise.camera(image, intensity_limits(image), cameras, shot, electronic)


@dataclass(frozen=True, kw_only=True)
class RandomCamera:
    """Photon counting in some samples; the logarithm of the number of photons is uniform.

    AnyStar has no such effect: its Poisson noise is not visible.

    Attributes:
        p: chance to apply.
        photons: range of the expected photons of the brightest voxel, at least 1.
        background: range of the expected photons of the background.
        read: range of the read noise, electrons.
    """

    blurs: ClassVar[bool] = False

    p: float
    photons: Range
    background: Range
    read: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("photons", self.photons, 1.0, 1e6)
        check_range("background", self.background, 0.0, 1e6)
        check_range("read", self.read, 0.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a camera and its noise per sample and record ``image`` ``[B, 1, D, H, W]`` with it."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        few, many = self.photons
        photons = source.uniform("photons", math.log(few), math.log(many)).exp()
        background = draw(source, "background", self.background)
        shot, electronic = source.normal("field", 2, *image.shape[1:]).unbind(1)
        return camera(image, photons, background, draw(source, "read", self.read), shot, electronic)
