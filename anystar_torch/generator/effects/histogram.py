"""A monotone, piecewise linear map of intensities: the response curve of another instrument."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import check_chance, check_whole
from anystar_torch.kernels.implementations import widest_float
from anystar_torch.kernels.intensities import intensity_limits, response_curve
from anystar_torch.random.source import Source


def histogram_shift(image: Volume, response: Float32[Tensor, "b n"]) -> Volume:
    """Map intensities, relative to the range of the sample, through a piecewise linear curve.

    The curve takes the values ``response`` at ``0, 1/(n-1), ..., 1`` of the range (MONAI
    ``RandHistogramShift``).

    Args:
        image: ``[B, 1, D, H, W]``.
        response: ``[B, N]``; even steps from 0 to 1 leave the image unchanged.
    """
    mapped = response_curve(image, intensity_limits(image), response)
    even = (response == even_steps(response)).all(1)
    return torch.where(even[:, None, None, None, None], image, mapped)


def even_steps(like: Float32[Tensor, "b n"]) -> Float32[Tensor, " n"]:
    """The curve that leaves an image unchanged, with as many points as ``like``.

    Args:
        like: ``[B, N]``, any curves on the same device.
    """
    return torch.linspace(0.0, 1.0, like.shape[1], dtype=torch.float32, device=like.device)


@dataclass(frozen=True, kw_only=True)
class RandomHistogramShift:
    """Another response curve in some samples.

    Inner points are drawn one after the other, as in MONAI. Each is uniform between the point before, which is drawn
    already, and the point after, which is still on the diagonal. The curve therefore never decreases.

    Attributes:
        p: chance to apply.
        points: number of points of the curve, 3 to 256; fewer points give a stronger effect.
    """

    blurs: ClassVar[bool] = False

    p: float
    points: int

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_whole("points", self.points, 3, 256)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a curve per sample and apply it to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return histogram_shift(image, self.response(source))

    def response(self, source: Source) -> Float32[Tensor, "b n"]:
        """A curve per sample, ``[B, points]``, from 0 to 1.

        Args:
            source: draws of the effect.
        """
        share = source.uniform("points", 0.0, 1.0, self.points)
        # The recurrence r[p] = (1 - s[p]) r[p-1] + s[p] a[p] in closed form: the sum over q <= p of s[q] a[q] times
        # the product of 1 - s over the points between. A loop would launch three operators per point.
        point = torch.arange(self.points, dtype=torch.float32, device=share.device)
        share = torch.where((point == 0) | (point == self.points - 1), (point > 0).to(torch.float32), share)
        after = (point + 1).clamp_(max=self.points - 1) / (self.points - 1)
        left = torch.where(point[:, None] > point, 1.0 - share[:, :, None], 1.0).cumprod(1)  # [B, p, q]
        parts = ((share * after)[:, None] * left).tril()
        # In float64 the order of the sum, which may be another one in other batches, does not change the result.
        return parts.sum(2, dtype=widest_float(parts.device)).to(torch.float32)
