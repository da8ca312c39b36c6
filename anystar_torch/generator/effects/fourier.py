"""The Fourier transform of every sample, with results that do not depend on the batch."""

import torch
from torch import Tensor

from anystar_torch.arrays import Volume
from anystar_torch.kernels.spectrum import Spectrum

_AXES = (-3, -2, -1)


def transform(image: Volume) -> Spectrum:
    """Discrete Fourier transform over D, H, W, zero frequency first; ``[B, 1, D, H, W]`` complex.

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    if image.device.type != "cpu":
        spectrum: Tensor = torch.fft.fftn(image, dim=_AXES)
        return spectrum
    # The library on the CPU distributes a batch of one by parts and larger batches by samples, with different rounding.
    # Rounding may also depend on alignment. Every sample is therefore a batch of one in its own memory.
    return torch.stack([torch.fft.fftn(each.to(torch.complex64), dim=_AXES) for each in image.unbind()])


def inverse(spectrum: Spectrum) -> Volume:
    """Real part of the inverse transform, ``[B, 1, D, H, W]``.

    Args:
        spectrum: ``[B, 1, D, H, W]`` complex, zero frequency first.
    """
    if spectrum.device.type != "cpu":
        image: Tensor = torch.fft.ifftn(spectrum, dim=_AXES).real
        return image
    return torch.stack([torch.fft.ifftn(each.clone(), dim=_AXES).real for each in spectrum.unbind()])
