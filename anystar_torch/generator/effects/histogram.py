"""A monotone, piecewise linear change of intensities: another instrument's response curve."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import check_chance
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import intensity_limits, run_native
from anystar_torch.random.source import Source


def histogram_shift(image: Volume, response: Float32[Tensor, "b n"]) -> Volume:
    """Map intensities, relative to the sample's range, through a piecewise linear curve.

    The curve takes the values ``response`` at ``0, 1/(n-1), ..., 1`` of the range (MONAI
    ``RandHistogramShift``).

    Args:
        image: ``[B, 1, D, H, W]``.
        response: ``[B, N]``; even steps from 0 to 1 leave the image unchanged.
    """
    limits = intensity_limits(image)
    shift = torch_histogram_shift if implementation(image.device) == "torch" else _histogram_shift
    mapped: Volume = shift(image, limits, response)
    even = (response == even_steps(response)).all(1)
    return torch.where(even[:, None, None, None, None], image, mapped)


@torch.library.custom_op("anystar::histogram_shift", mutates_args=())
def _histogram_shift(image: Tensor, limits: Tensor, response: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("histogram_shift", image[:, 0], limits, response)[:, None]
    from anystar_torch.kernels.triton import intensities

    return intensities.histogram_shift(image.contiguous(), limits, response.contiguous())


@_histogram_shift.register_fake
def _(image: Tensor, limits: Tensor, response: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def torch_histogram_shift(
    image: Volume, limits: Float32[Tensor, "b 2"], response: Float32[Tensor, "b n"]
) -> Volume:
    """The plain torch implementation of the curve, for samples whose ranges are ``limits``."""
    pieces = response.shape[1] - 1
    low, high = (per_voxel(limit) for limit in limits.unbind(1))
    span = high - low
    place = ((image - low) / torch.where(span == 0.0, 1.0, span)).mul_(float(pieces)).flatten(1)
    piece = place.to(torch.int64).clamp_(0, pieces - 1)
    start, step = response.gather(1, piece), response.diff(dim=1).gather(1, piece)
    return start.addcmul_(place.sub_(piece), step).view_as(image).mul_(span).add_(low)


def even_steps(like: Float32[Tensor, "b n"]) -> Float32[Tensor, " n"]:
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
        # The recurrence r[p] = (1 - s[p]) r[p-1] + s[p] a[p] in closed form: the sum over q <= p of s[q] a[q] times
        # the product of 1 - s over the points between; a loop would launch three operators for every point.
        point = torch.arange(self.points, device=share.device)
        share = torch.where((point == 0) | (point == self.points - 1), (point > 0).to(torch.float32), share)
        after = (point + 1).clamp_(max=self.points - 1) / (self.points - 1)
        left = torch.where(point[:, None] > point, 1.0 - share[:, :, None], 1.0).cumprod(1)  # [B, p, q]
        parts = (share * after)[:, None] * left
        # A running sum, as a reduction may round by the size of the batch. Its diagonal ends at q = p.
        return parts.cumsum(2).diagonal(dim1=1, dim2=2).contiguous()
