"""A monotone, piecewise linear change of intensities: another instrument's response curve."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume
from anystar_torch.augment.chain import with_chance
from anystar_torch.augment.ranges import check_chance
from anystar_torch.random import Source


def histogram_shift(image: Volume, response: Float32[Tensor, "b n"]) -> Volume:
    """Map intensities, relative to the sample's range, through a piecewise linear curve.

    The curve takes the values ``response`` at ``0, 1/(n-1), ..., 1`` of the range (MONAI
    ``RandHistogramShift``).

    Args:
        image: ``[B, 1, D, H, W]``.
        response: ``[B, N]``; even steps from 0 to 1 leave the image unchanged.
    """
    pieces = response.shape[1] - 1
    low, high = image.amin((1, 2, 3, 4), keepdim=True), image.amax((1, 2, 3, 4), keepdim=True)
    span = high - low
    place = ((image - low) / torch.where(span == 0.0, 1.0, span)).mul_(float(pieces)).flatten(1)
    piece = place.to(torch.int64).clamp_(0, pieces - 1)
    start, step = response.gather(1, piece), response.diff(dim=1).gather(1, piece)
    mapped = start.addcmul_(place.sub_(piece), step).view_as(image).mul_(span).add_(low)
    even = (response == even_steps(response)).all(1)
    return torch.where(even[:, None, None, None, None], image, mapped)


def even_steps(like: Float32[Tensor, "b n"]) -> Float32[Tensor, "n"]:
    """The curve that changes nothing."""
    return torch.linspace(0.0, 1.0, like.shape[1], device=like.device)


@dataclass(frozen=True, kw_only=True)
class RandomHistogramShift:
    """Another response curve for some samples.

    Inner points are drawn one after the other, each uniform between the point before (already drawn) and the
    point after (still on the diagonal), as MONAI does, so the curve never falls.

    Attributes:
        p: chance to apply.
        points: number of points of the curve, 3 to 256; the fewer, the stronger.
    """

    p: float
    points: int

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        if not 3 <= self.points <= 256:
            raise ValueError(f"points must be 3 to 256, got {self.points}")

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a curve per sample and apply it to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        return histogram_shift(image, self.response(source))

    def response(self, source: Source) -> Float32[Tensor, "b n"]:
        """A curve per sample, ``[B, points]``, from 0 to 1."""
        share = source.uniform("points", 0.0, 1.0, self.points)
        response = [torch.zeros_like(share[:, 0])]
        for point in range(1, self.points - 1):
            before, after = response[-1], (point + 1) / (self.points - 1)
            response.append(before + (after - before) * share[:, point])
        return torch.stack([*response, torch.ones_like(share[:, 0])], dim=1)
