"""White noise of detectors: additive, Rician, and what is added to a finished image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import equally_strided, run_native
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
    if implementation(image.device) == "torch":
        return torch_rician_noise(image, std, real, imaginary)
    magnitude: Volume = _rician_noise(image, std, real, imaginary)
    return magnitude


@torch.library.custom_op("anystar::rician_noise", mutates_args=())
def _rician_noise(image: Tensor, std: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    real, imaginary = equally_strided(real, imaginary)
    if implementation(image.device) == "native":
        return run_native("rician_noise", image[:, 0], std, real[:, 0], imaginary[:, 0])[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.rician_noise(image.contiguous(), std.contiguous(), real, imaginary)


@_rician_noise.register_fake
def _(image: Tensor, std: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def torch_rician_noise(image: Volume, std: PerSample, real: Volume, imaginary: Volume) -> Volume:
    """The plain torch implementation of :func:`rician_noise`."""
    width = per_voxel(std)
    noisy = torch.addcmul(image, width, real)
    quadrature = imaginary * width
    magnitude = noisy.mul_(noisy).add_(quadrature.mul_(quadrature)).sqrt_()
    return torch.where(width == 0.0, image, magnitude)


def detector_noise(
    image: Volume, additive: PerSample, speckle: PerSample, shot: PerSample, field: Volume
) -> Volume:
    """Noise of a finished image in [0, 1]: additive, multiplicative and shot; exact zeros stay.

    ``out = clip(image + field * sqrt(additive^2 + (speckle * image)^2 + shot * image), 0, 1)`` where ``image
    > 0``, and ``image`` elsewhere: scikit-image's ``random_noise`` of mode gaussian, speckle or (in the
    normal limit) poisson times AnyStar's mask of positive voxels.

    Args:
        image: ``[B, 1, D, H, W]`` in [0, 1].
        additive: ``[B]``, standard deviation of the additive part.
        speckle: ``[B]``, standard deviation of the multiplicative part.
        shot: ``[B]``, variance at intensity 1 of the shot part: one over the photons there.
        field: ``[B, 1, D, H, W]``, standard normal.
    """
    widths = torch.stack([additive, speckle, shot], dim=1)
    if implementation(image.device) == "torch":
        return torch_detector_noise(image, widths, field)
    noisy: Volume = _detector_noise(image, widths, field)
    return noisy


@torch.library.custom_op("anystar::detector_noise", mutates_args=())
def _detector_noise(image: Tensor, widths: Tensor, field: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("detector_noise", image[:, 0], widths, field[:, 0].contiguous())[:, None]
    from anystar_torch.kernels.triton import noise

    return noise.detector_noise(image.contiguous(), widths, field.contiguous())


@_detector_noise.register_fake
def _(image: Tensor, widths: Tensor, field: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def torch_detector_noise(image: Volume, widths: Float32[Tensor, "b 3"], field: Volume) -> Volume:
    """The plain torch implementation of :func:`detector_noise`."""
    additive, speckle, shot = (per_voxel(width) for width in widths.unbind(1))
    scaled = image * speckle
    variance = scaled.mul_(scaled).add_(additive * additive).add_(image.clamp(min=0.0).mul_(shot))
    noisy = torch.addcmul(image, variance.sqrt_(), field).clamp_(0.0, 1.0)
    noiseless = (additive == 0.0) & (speckle == 0.0) & (shot == 0.0)
    return torch.where(noiseless | (image <= 0.0), image, noisy)


@dataclass(frozen=True, kw_only=True)
class _OfSomeWidth(ABC):
    """White noise of a drawn width on some samples; which noise, ``_always`` says.

    Attributes:
        p: chance to apply.
        std: range of the standard deviation, in units of the image as it arrives.
    """

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


class RandomGaussianNoise(_OfSomeWidth):
    """Additive white noise on some samples."""

    def _always(self, image: Volume, source: Source) -> Volume:
        field = source.normal("field", *image.shape[1:])
        return gaussian_noise(image, draw(source, "std", self.std), field)


class RandomRicianNoise(_OfSomeWidth):
    """Rician noise on some samples, as magnitude images of magnetic resonance have it; ``std`` is each channel's."""

    def _always(self, image: Volume, source: Source) -> Volume:
        real, imaginary = source.normal("field", 2, *image.shape[1:]).unbind(1)
        return rician_noise(image, draw(source, "std", self.std), real, imaginary)


@dataclass(frozen=True, kw_only=True)
class RandomDetectorNoise:
    """One of gaussian, poisson and speckle, with equal chances, on some finished samples in [0, 1].

    AnyStar draws it with scikit-image's ``random_noise``. Its Poisson noise counts as many photons as the
    image has distinct values, about 2^18, so that it is invisible; that is kept, as ``photons``. Difference:
    the counts are normal, not Poisson, which at 2^18 photons is the same to 0.1 % of the noise's width.

    Attributes:
        p: chance to apply.
        std: standard deviation of gaussian noise.
        speckle: standard deviation of speckle noise relative to the image.
        photons: photons at intensity 1 for poisson noise.
    """

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
    return (kind == which) * value
