"""A camera that counts photons: shot noise from bright to starved, and read noise."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import equally_strided, intensity_limits, run_native
from anystar_torch.random.source import Source

_FEW = 4.0
"""Below this rate counts are found by summing probabilities, above it by an expansion."""
_TERMS = 17
"""Largest count that is told apart below that rate; more has a chance of 1e-6."""


def poisson(rate: Volume, normal: Volume) -> Volume:
    """Poisson counts as a function of a standard normal field: the quantile function at the field's quantile.

    Below 4 photons exact (the least count whose cumulative probability reaches the quantile), above by the
    Cornish-Fisher expansion to third order, rounded, which is 0.0006 off in cumulative probability at most.
    ``torch.poisson`` would draw from a generator, and a sample would not be a function of its id.

    Args:
        rate: ``[B, 1, D, H, W]``, expected counts, not negative.
        normal: ``[B, 1, D, H, W]``, standard normal.
    """
    many_rate = rate.clamp(min=_FEW)
    variance = many_rate - 1.0 / 12.0  # rounding to whole counts adds the twelfth again
    root, ratio = variance.sqrt(), many_rate / variance
    squared = normal * normal
    third = ((squared - 3.0) / 24.0 - ratio * (2.0 * squared - 5.0) / 36.0).mul_(normal)
    expansion = many_rate + root * normal + ((squared - 1.0) / 6.0 + third / root).mul_(ratio)
    many = (expansion + 0.5).floor_().clamp_(min=0.0)
    few_rate = rate.clamp(max=_FEW)
    quantile = 0.5 * torch.erfc(normal * -math.sqrt(0.5))
    chance = (-few_rate).exp_()
    total = chance.clone()
    few = (quantile > total).to(torch.float32)
    for count in range(1, _TERMS):
        chance.mul_(few_rate).div_(float(count))
        total.add_(chance)
        few.add_(quantile > total)
    return torch.where(rate < _FEW, few, many)


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
    limits, cameras = intensity_limits(image), torch.stack([photons, background, read], dim=1)
    record = torch_camera if implementation(image.device) == "torch" else _camera
    recorded: Volume = record(image, limits, cameras, shot, electronic)
    return recorded


@torch.library.custom_op("anystar::camera", mutates_args=())
def _camera(image: Tensor, limits: Tensor, cameras: Tensor, shot: Tensor, electronic: Tensor) -> Tensor:
    """:func:`camera` with a range ``[B, 2]`` and photons, background, read noise ``[B, 3]``."""
    shot, electronic = equally_strided(shot, electronic)
    if implementation(image.device) == "native":
        return run_native("camera", image[:, 0], limits, cameras, shot[:, 0], electronic[:, 0])[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.camera(image.contiguous(), limits, cameras, shot, electronic)


@_camera.register_fake
def _(image: Tensor, limits: Tensor, cameras: Tensor, shot: Tensor, electronic: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def torch_camera(
    image: Volume,
    limits: Float32[Tensor, "b 2"],
    cameras: Float32[Tensor, "b 3"],
    shot: Volume,
    electronic: Volume,
) -> Volume:
    """The plain torch implementation of :func:`camera`."""
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    span = high - low
    photons, background, read = cameras.unbind(1)
    photons, background = per_voxel(photons), per_voxel(background)
    rate = ((image - low) / torch.where(span == 0.0, 1.0, span)).mul_(photons).add_(background)
    counts = poisson(rate, shot).addcmul_(per_voxel(read), electronic)
    return counts.sub_(background).div_(photons).mul_(span).add_(low)


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
