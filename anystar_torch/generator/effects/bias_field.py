"""A smooth multiplicative field, as from an uneven receive coil or uneven illumination."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.kernels import intensities
from anystar_torch.kernels.intensities import LEGENDRE_DEGREES as TERMS
from anystar_torch.random.source import Source


def bias_field(image: Volume, coefficients: Float32[Tensor, "b 20"], extent: PerSampleAxis) -> Volume:
    """Multiply by ``exp`` of a third-degree polynomial of position.

    ``out = image * exp(sum_n c_n P_i(z) P_j(y) P_k(x))`` with ``(i, j, k) = TERMS[n]`` and Legendre polynomials P.
    z, y, x go from -extent to +extent over the volume. MONAI's ``RandBiasField`` of degree 3 has extent 1.

    Args:
        image: ``[B, 1, D, H, W]``.
        coefficients: ``[B, 20]``; 0 leaves the image unchanged.
        extent: ``[B, 3]``, share of the interval [-1, 1] of the polynomials that the volume spans along z, y, x; a
            negative share mirrors the field.
    """
    return intensities.bias_field(image, coefficients, extent)


@dataclass(frozen=True, kw_only=True)
class RandomBiasField:
    """A bias field in every sample (MONAI ``RandBiasField``).

    AnyStar's coefficients are all positive, 0 to 0.1. They always brighten the image, most in one corner. In AnyStar,
    later rotations move this corner. Here the field is mirrored along each axis with chance 1/2, with the same result.

    Attributes:
        coefficient: range of each of the 20 coefficients.
        extent: range of the share of the field that the volume spans along an axis, in (0, 1]. AnyStar applies the
            field to 64 to 128 voxels, of which the sample shows 64.
    """

    blurs: ClassVar[bool] = False

    coefficient: Range
    extent: Range

    def __post_init__(self) -> None:
        check_range("coefficient", self.coefficient)
        check_range("extent", self.extent, 0.0, 1.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a field per sample and multiply ``image`` ``[B, 1, D, H, W]`` by it."""
        coefficients = draw(source, "coefficient", self.coefficient, len(TERMS))
        sign = source.integers("mirrored", 0, 2, 3).to(torch.float32) * 2.0 - 1.0
        return bias_field(image, coefficients, draw(source, "extent", self.extent, 3) * sign)
