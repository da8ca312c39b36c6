"""Resolution that differs along the axes: an elongated point-spread function, and thick slices."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, reach
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import run_native
from anystar_torch.random.source import Source


def thick_slices(image: Volume, thickness: PerSampleAxis, start: PerSampleAxis) -> Volume:
    """Record the volume in slices of some thickness and interpolate linearly between their centres.

    A slice is the mean of the image over its extent, fractions of voxels included. The first slice begins
    between half a thickness before and after the volume's face; what lies beyond the outermost centres takes
    their value.

    Args:
        image: ``[B, 1, D, H, W]``.
        thickness: ``[B, 3]``, voxels along z, y, x, at least 1; 1 leaves that axis unchanged.
        start: ``[B, 3]`` in (-1/2, 1/2), where the first slice begins, in thicknesses from the face.
    """
    if implementation(image.device) == "torch":
        return torch_thick_slices(image, thickness, start)
    for axis in range(3):
        image = _thick_slices(image, thickness, start, axis)
    return image


@torch.library.custom_op("anystar::thick_slices", mutates_args=())
def _thick_slices(image: Tensor, thickness: Tensor, start: Tensor, axis: int) -> Tensor:
    """One axis of :func:`thick_slices`."""
    if implementation(image.device) == "native":
        return run_native("thick_slices", image[:, 0], thickness, start, axis)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.thick_slices(image.contiguous(), thickness.contiguous(), start.contiguous(), axis)


@_thick_slices.register_fake
def _(image: Tensor, thickness: Tensor, start: Tensor, axis: int) -> Tensor:
    return image.new_empty(image.shape)


def torch_thick_slices(image: Volume, thickness: PerSampleAxis, start: PerSampleAxis) -> Volume:
    """The plain torch implementation of :func:`thick_slices`."""
    for axis in range(3):
        moved = image.movedim(axis + 2, 4)
        sliced = _slices_along_last(moved, thickness[:, axis], start[:, axis]).movedim(4, axis + 2)
        image = torch.where((thickness[:, axis] == 1.0)[:, None, None, None, None], image, sliced)
    return image


def _slices_along_last(image: Volume, thickness: PerSample, start: PerSample) -> Volume:
    size = image.shape[4]
    step, first = thickness[:, None], (start * thickness)[:, None]
    index = torch.arange(size + 1, dtype=torch.float32, device=image.device)
    edges = (first + index * step).clamp_(0.0, float(size))
    voxel = edges.to(torch.int64).clamp_(max=size - 1)
    inclusive = image.cumsum(4)
    here, before = _along_last(image, voxel), _along_last(inclusive, voxel)
    integral = before.sub_(here).addcmul_(here, (edges - voxel)[:, None, None, None])
    width = edges.diff(dim=1).clamp_(min=1e-3)[:, None, None, None]
    slices = integral.diff(dim=4) / width
    # a slice less than half inside the volume is left out; the thickest possible one stays
    last = ((size - first) / step + 0.5).floor_().sub_(1.0).clamp_(0.0, size - 1.0)
    place = ((index[:size] + 0.5 - first) / step - 0.5).clamp_(min=0.0).minimum(last)
    lower = place.to(torch.int64)
    upper = (lower + 1).minimum(last.to(torch.int64))
    low, high = _along_last(slices, lower), _along_last(slices, upper)
    return torch.lerp(low, high, (place - lower)[:, None, None, None])


def _along_last(
    values: Float32[Tensor, "b 1 d h _"], index: Int64[Tensor, "b n"]
) -> Float32[Tensor, "b 1 d h n"]:
    """Each sample's values at its own positions of the last axis."""
    wanted = index[:, None, None, None].expand(*values.shape[:4], index.shape[1])
    return values.gather(4, wanted)


@dataclass(frozen=True, kw_only=True)
class RandomResolution:
    """Anisotropic resolution of some samples: blur, then slices, both worst along the same axis.

    No counterpart in AnyStar. The axis is drawn: which one a file calls z says nothing about the instrument.

    Attributes:
        p: chance to apply.
        lateral: range of the blur's width across the axis, voxels.
        elongation: range of the factor by which the blur is wider along the axis.
        thickness: range of the slice thickness along the axis, voxels, at least 1.
    """

    p: float
    lateral: Range
    elongation: Range
    thickness: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("lateral", self.lateral, 0.0, 8.0)
        check_range("elongation", self.elongation, 1.0, 8.0)
        check_range("thickness", self.thickness, 1.0, 32.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw an axis, widths and a thickness per sample and apply them to ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=image.device)
        lateral = draw(source, "lateral", self.lateral)[:, None]
        sigma = torch.where(axis, lateral * draw(source, "elongation", self.elongation)[:, None], lateral)
        thickness = torch.where(axis, draw(source, "thickness", self.thickness)[:, None], 1.0)
        widest = reach(self.lateral[1] * self.elongation[1])
        blurred = gaussian_blur(image, sigma, taps=widest)
        return thick_slices(blurred, thickness, source.uniform("start", -0.5, 0.5, 3))
