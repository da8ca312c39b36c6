"""Scale and shear per axis and a small smooth displacement, with zeros outside of the recorded box."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.spatial.coordinates import Coordinates, Step
from anystar_torch.kernels.coordinates import BOX
from anystar_torch.kernels.implementations import widest_float
from anystar_torch.random.source import Source

NODE_SPACING = 4
"""Voxels between the nodes on which the displacement is drawn; it is smooth over at least two voxels."""
TAPS = 4


def elastic(
    coordinates: Coordinates,
    displacement: Float32[Tensor, "b 3 d h w"],
    scale: PerSampleAxis,
    shear: PerSampleAxis,
) -> Coordinates:
    """``Shear Scale (position + displacement)``; positions outside the volume are not covered.

    Args:
        coordinates: voxels of the finished sample, before any other step: only they are displaced.
        displacement: ``[B, 3, D, H, W]``, voxels.
        scale: ``[B, 3]``, 1 for none.
        shear: ``[B, 3]``, the entries (z, y), (z, x) and (y, z) of the shear matrix, 0 for none.
    """
    one, zero = torch.ones_like(scale[:, 0]), torch.zeros_like(scale[:, 0])
    zy, zx, yz = shear.unbind(1)
    rows = [[one, zy, zx], [yz, one, zero], [zero, zero, one]]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1) * scale[:, None]
    half = (coordinates.size - 1.0) / 2.0
    assert not coordinates.steps
    return replace(coordinates, displacement=displacement).then(Step(matrix, half=half, limit=BOX))


def smooth_displacement(
    nodes: Float32[Tensor, "b 3 n m k"], sigma: PerSample, std: PerSample, shape: tuple[int, ...]
) -> Float32[Tensor, "b 3 d h w"]:
    """Gaussian-filtered white noise of the given deviation, from white noise on a lattice of ``NODE_SPACING`` voxels.

    Args:
        nodes: ``[B, 3, n, m, k]``, independent standard normal numbers.
        sigma: ``[B]``, width of the filter, voxels; at least that of interpolation, ``NODE_SPACING / sqrt(6)``.
        std: ``[B]``, deviation of the result, voxels.
        shape: (D, H, W).
    """
    # Linear interpolation between nodes is a filter of variance NODE_SPACING^2 / 6; the rest is a Gaussian over nodes.
    variance = (sigma * sigma - NODE_SPACING * NODE_SPACING / 6.0).clamp(min=0.0) / (
        NODE_SPACING * NODE_SPACING
    )
    offset = torch.arange(-TAPS, TAPS + 1, dtype=torch.float32, device=nodes.device)
    kernel = (-0.5 * offset * offset / (variance + 1e-3)[:, None]).exp()
    # What the variance becomes on average between nodes: 2/3 of that at nodes and 1/3 of neighbours' covariance.
    energy = (kernel * kernel).sum(1) * (2.0 / 3.0) + (kernel[:, 1:] * kernel[:, :-1]).sum(1) * (1.0 / 3.0)
    kernel = kernel / energy.sqrt()[:, None]
    wide = widest_float(nodes.device)  # so that the order of the sum does not change the float32 result
    kernel, nodes = kernel.to(wide)[:, None, None, None, None], nodes.to(wide)
    for axis in (2, 3, 4):
        nodes = (nodes.unfold(axis, 2 * TAPS + 1, 1) * kernel).sum(5)
    nodes = nodes.to(torch.float32) * std[:, None, None, None, None]
    fine = [NODE_SPACING * (n - 1) + 1 for n in nodes.shape[2:]]
    field = F.interpolate(nodes, size=fine, mode="trilinear", align_corners=True)
    return field[:, :, : shape[0], : shape[1], : shape[2]]


@dataclass(frozen=True, kw_only=True)
class RandomElastic:
    """Scale, shear and elastic displacement of every sample (AnyStar: MONAI ``Rand3DElasticd``, zero padding).

    The original smooths noise that is uniform in (-1, 1) with a Gaussian and multiplies it: its displacement has the
    deviation ``magnitude / sqrt(3) / (2 sqrt(pi) sigma)^1.5``, 0.1 to 0.4 voxels, which is hardly visible.

    Attributes:
        sigma: range of the smoothing of the displacement, voxels.
        magnitude: range of the factor on the smoothed noise.
        scale: range of the scale per axis.
        shear: range of the three shears.
    """

    sigma: Range
    magnitude: Range
    scale: Range
    shear: Range

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma, NODE_SPACING / math.sqrt(6.0), 2.0 * NODE_SPACING)
        check_range("magnitude", self.magnitude, 0.0)
        check_range("scale", self.scale, 0.05, 20.0)
        check_range("shear", self.shear, -2.0, 2.0)

    def __call__(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Draw a deformation per sample."""
        shape = coordinates.shape
        nodes = source.normal("nodes", 3, *((n - 1) // NODE_SPACING + 2 + 2 * TAPS for n in shape))
        sigma = draw(source, "sigma", self.sigma)
        width = sigma * (2.0 * math.sqrt(math.pi))
        std = draw(source, "magnitude", self.magnitude) / (math.sqrt(3.0) * width * width.sqrt())
        return elastic(
            coordinates,
            smooth_displacement(nodes, sigma, std, shape),
            draw(source, "scale", self.scale, 3),
            draw(source, "shear", self.shear, 3),
        )
