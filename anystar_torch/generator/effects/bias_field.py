"""A smooth multiplicative field, as an uneven receive coil or an uneven illumination gives."""

from dataclasses import dataclass

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

    ``out = image * exp(sum_n c_n P_i(z) P_j(y) P_k(x))`` with ``(i, j, k) = TERMS[n]``, P Legendre
    polynomials and z, y, x running from -extent to +extent over the volume (MONAI ``RandBiasField``, degree
    3, has extent 1).

    Args:
        image: ``[B, 1, D, H, W]``.
        coefficients: ``[B, 20]``; 0 leaves the image unchanged.
        extent: ``[B, 3]``, how much of the polynomials' interval [-1, 1] the volume spans along z, y, x; a
            negative one mirrors the field.
    """
    return intensities.bias_field(image, coefficients, extent)


@dataclass(frozen=True, kw_only=True)
class RandomBiasField:
    """A bias field on every sample.

    With coefficients of one sign only, as AnyStar has them (0 to 0.1, MONAI ``RandBiasField``), the image is
    always brightened, most in one corner. In AnyStar that corner of the finished volume is set by later flips
    and turns; here the field is mirrored along each axis with chance 1/2 instead, to the same effect.

    Attributes:
        coefficient: range of each of the 20 coefficients.
        extent: range of the share of the field that the volume spans along an axis, in (0, 1]. AnyStar
            applies the field to 64 to 128 voxels and sees 64 of them.
    """

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
