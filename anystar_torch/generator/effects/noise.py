"""White noise of detectors: additive, Rician, and the noise of a finished image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels import noise
from anystar_torch.random.source import Source


def gaussian_noise(image: Volume, std: PerSample, field: Volume) -> Volume:
    """Add white noise: ``image + std * field``.

    Args:
        image: ``[B, 1, D, H, W]``.
        std: ``[B]``, in units of the image; 0 leaves it unchanged.
        field: ``[B, 1, D, H, W]``, standard normal.
    """
    return torch.addcmul(image, per_voxel(std), field)


def rician_noise(image: Volume, std: PerSample, real: Volume, imaginary: Volume) -> Volume:
    """Magnitude of a noisy complex signal: ``sqrt((image + std * real)^2 + (std * imaginary)^2)``.

    Args:
        image: ``[B, 1, D, H, W]``.
        std: ``[B]``, of each channel; 0 leaves the image unchanged (negative values, too).
        real: ``[B, 1, D, H, W]``, standard normal.
        imaginary: ``[B, 1, D, H, W]``, standard normal.
    """
    return noise.rician_noise(image, std, real, imaginary)


def detector_noise(
    image: Volume, additive: PerSample, speckle: PerSample, shot: PerSample, field: Volume
) -> Volume:
    """Noise of a finished image in [0, 1]: additive, multiplicative and shot; exact zeros stay.

    ``out = clip(image + field * sqrt(additive^2 + (speckle * image)^2 + shot * image), 0, 1)`` where the image is
    positive; other voxels do not change, as in AnyStar. The three parts are those of scikit-image's ``random_noise`` in
    the modes gaussian, speckle and (in the limit of many photons) poisson.

    Args:
        image: ``[B, 1, D, H, W]`` in [0, 1].
        additive: ``[B]``, standard deviation of the additive part.
        speckle: ``[B]``, standard deviation of the multiplicative part.
        shot: ``[B]``, variance at intensity 1 of the shot part: one over the photons there.
        field: ``[B, 1, D, H, W]``, standard normal.
    """
    return noise.detector_noise(image, torch.stack([additive, speckle, shot], dim=1), field)


@dataclass(frozen=True, kw_only=True)
class _WhiteNoise(ABC):
    """White noise with a random standard deviation in some samples; subclasses define the kind of noise.

    Attributes:
        p: chance to apply.
        std: range of the standard deviation, in units of the image as it arrives.
    """

    blurs: ClassVar[bool] = False

    p: float
    std: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("std", self.std, 0.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a width and fields per sample and apply them to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    @abstractmethod
    def _always(self, image: Volume, source: Source) -> Volume: ...


class RandomGaussianNoise(_WhiteNoise):
    """Additive white noise in some samples."""

    def _always(self, image: Volume, source: Source) -> Volume:
        field = source.normal("field", *image.shape[1:])
        return gaussian_noise(image, draw(source, "std", self.std), field)


class RandomRicianNoise(_WhiteNoise):
    """Rician noise in some samples, as in magnitude images of magnetic resonance; ``std`` is that of each channel."""

    def _always(self, image: Volume, source: Source) -> Volume:
        real, imaginary = source.normal("field", 2, *image.shape[1:]).unbind(1)
        return rician_noise(image, draw(source, "std", self.std), real, imaginary)


@dataclass(frozen=True, kw_only=True)
class RandomDetectorNoise:
    """One of gaussian, poisson and speckle, with equal chances, on some finished samples in [0, 1].

    AnyStar draws it with scikit-image's ``random_noise``. Its Poisson noise counts as many photons as the image has
    distinct values, about 2^18, and is therefore invisible. ``photons`` is that number. Difference: the counts are
    normal, not Poisson. With 2^18 photons both are the same to 0.1 % of the width of the noise.

    Attributes:
        p: chance to apply.
        std: standard deviation of gaussian noise.
        speckle: standard deviation of speckle noise relative to the image.
        photons: photons at intensity 1 for poisson noise.
    """

    blurs: ClassVar[bool] = False

    p: float
    std: float
    speckle: float
    photons: float

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("std", (self.std, self.std), 0.0)
        check_range("speckle", (self.speckle, self.speckle), 0.0)
        check_range("photons", (self.photons, self.photons), 1.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw which noise a sample gets, and its field, and apply it to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        kind = source.integers("kind", 0, 3)
        field = source.normal("field", *image.shape[1:])
        widths = (_only(kind, 0, self.std), _only(kind, 1, self.speckle), _only(kind, 2, 1.0 / self.photons))
        return detector_noise(image, *widths, field)


def _only(kind: Int64[Tensor, " b"], which: int, value: float) -> PerSample:
    """``value`` for the samples of that kind, 0 for the others."""
    return ((kind == which) * value).to(torch.float32)
