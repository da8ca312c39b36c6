"""A camera that counts photons: shot noise from bright to starved, and read noise."""

import math
from dataclasses import dataclass

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
    """Record the image with a camera of unit gain.

    Intensities from the sample's minimum to its maximum stand for 0 to ``photons`` photons on top of
    ``background`` ones; counts are Poisson, read noise is added, and the result is scaled back.

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
    """Photon counting on some samples, with numbers of photons spread evenly over their logarithm.

    No counterpart in AnyStar, whose Poisson noise is invisible.

    Attributes:
        p: chance to apply.
        photons: range of the brightest voxel's expected photons, at least 1.
        background: range of the background's expected photons.
        read: range of the read noise, electrons.
    """

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
        photons = source.uniform("photons", math.log(few), math.log(many)).exp_()
        background = draw(source, "background", self.background)
        shot, electronic = source.normal("field", 2, *image.shape[1:]).unbind(1)
        return camera(image, photons, background, draw(source, "read", self.read), shot, electronic)
