"""A spike in k-space: the pattern of one faulty data point of a magnetic resonance acquisition."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.fourier import transform
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.spectrum import add_wave
from anystar_torch.random.source import Source


def kspace_spike(image: Volume, frequency: Int64[Tensor, "b 3"], strength: PerSample) -> Volume:
    """Set the magnitude of one coefficient of the spectrum, and keep the real part.

    F is the discrete Fourier transform. ``log |F|`` at ``frequency`` becomes ``strength`` times its mean over the
    spectrum, and the phase stays. The conjugate coefficient does not change, so one cosine of half that amplitude is
    added (MONAI ``KSpaceSpikeNoise``, with a default strength of 2.5). This needs one transform, not two: the cosine is
    a product of three one-dimensional waves.

    Args:
        image: ``[B, 1, D, H, W]``.
        frequency: ``[B, 3]``, periods per volume along z, y, x, from 0 to below D, H, W (wrapping round).
        strength: ``[B]``, log-magnitude of the spike over the mean log-magnitude. There is no value
            that leaves every image unchanged.
    """
    depth, height, width = image.shape[2:]
    spectrum = torch.view_as_real(transform(image)[:, 0])
    magnitude = spectrum.square().sum(-1).sqrt_()
    # One axis at a time: a sum to a single number is split over threads at B = 1 only, and rounds
    # differently.
    level = (magnitude + 1e-10).log_().mean(3).mean(2).mean(1)
    place = (frequency[:, 0] * height + frequency[:, 1]) * width + frequency[:, 2]
    real, imaginary = spectrum.flatten(1, 3).gather(1, place[:, None, None].expand(-1, 1, 2))[:, 0].unbind(1)
    old = magnitude.flatten(1).gather(1, place[:, None])[:, 0]
    change = ((strength * level).exp() - old) / (depth * height * width)
    cosine = torch.where(old > 0.0, real / old, 1.0) * change
    sine = torch.where(old > 0.0, imaginary / old, 0.0) * change
    return add_wave(image, frequency, cosine, sine)


@dataclass(frozen=True, kw_only=True)
class RandomKSpaceSpike:
    """A spike at a random place of k-space in some samples.

    Attributes:
        p: chance to apply.
        strength: range of the spike's log-magnitude over the spectrum's mean log-magnitude.
    """

    blurs: ClassVar[bool] = False

    p: float
    strength: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("strength", self.strength, 0.0, 4.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw place and strength per sample and add the wave to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        frequency = torch.stack(
            [source.integers(f"frequency{axis}", 0, n) for axis, n in enumerate(image.shape[2:])], dim=1
        )
        return kspace_spike(image, frequency, draw(source, "strength", self.strength))
