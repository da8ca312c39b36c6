"""What linear interpolation does to an image, without doing it.

The original resamples its image three times. Between voxels, at a fraction f, linear interpolation averages two
neighbours with the weights 1 - f and f: it spreads edges by the variance f (1 - f), 1/6 on average, and of the variance
of white noise it keeps (1 - f)^2 + f^2. Here nothing is resampled; symmetric filters of three taps do the same.
"""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Volume
from anystar_torch.kernels.implementations import implementation
from anystar_torch.kernels.native import run_native

MEAN = 1.0 / 6.0
"""The variance that linear interpolation spreads an edge by, on average over fractions; squared voxels and per axis."""


def side_tap(variance: float) -> float:
    """The weight of each neighbour that spreads an edge by ``variance``, at most 1/2."""
    return variance / 2.0


def noise_side_tap(variance: float) -> float:
    """The weight of each neighbour that keeps as much white noise as interpolation of this variance does.

    Taps (a, 1 - 2a, a) keep ``1 - 4a + 6a^2``; interpolation keeps ``1 - 2 variance``.
    """
    return (1.0 - math.sqrt(1.0 - 3.0 * variance)) / 3.0


def noise_side_taps(fraction: Float32[Tensor, "b 3 d h w"]) -> Float32[Tensor, "b 3 d h w"]:
    """``noise_side_tap`` for every voxel and axis, from the fractions at which it would be interpolated."""
    return (1.0 - (1.0 - 3.0 * fraction * (1.0 - fraction)).sqrt()).mul_(1.0 / 3.0)


def smooth(
    image: Float32[Tensor, "b c d h w"], sides: Float32[Tensor, "b n p q r"]
) -> Float32[Tensor, "b c d h w"]:
    """Filter with the taps (a, 1 - 2a, a) along each axis; the faces are continued. Constants stay as they are.

    Args:
        image: ``[B, C, D, H, W]``.
        sides: the taps a: ``[B, C, 1, 1, 1]``, one a channel for all axes, or ``[B, 3, D, H, W]``, one a voxel
            for each axis.
    """
    if implementation(image.device) == "torch" or not _one_per_channel(image, sides):
        return torch_smooth(image, sides)
    smoothed: Tensor = _smooth(image.flatten(0, 1), sides.flatten())
    return smoothed.view(image.shape)


def smooth_noise(image: Volume, fraction: Float32[Tensor, "b 3 d h w"]) -> Volume:
    """``smooth(image, noise_side_taps(fraction))``: the white noise of ``image`` as interpolation would leave it.

    Args:
        image: ``[B, 1, D, H, W]``.
        fraction: for every voxel and axis the fraction between voxels at which it would be interpolated.
    """
    if implementation(image.device) == "torch":
        return torch_smooth(image, noise_side_taps(fraction))
    smoothed: Volume = _smooth_noise(image, fraction)
    return smoothed


@torch.library.custom_op("anystar::smooth", mutates_args=())
def _smooth(volumes: Tensor, sides: Tensor) -> Tensor:
    """Three taps along every axis of volumes ``[N, D, H, W]``; ``sides`` ``[N]``."""
    if implementation(volumes.device) == "native":
        return run_native("smooth", volumes, sides)
    from anystar_torch.kernels.triton import filters

    return filters.smooth(volumes.contiguous(), sides.contiguous(), per_voxel=False)


@torch.library.custom_op("anystar::smooth_noise", mutates_args=())
def _smooth_noise(image: Tensor, fraction: Tensor) -> Tensor:
    if implementation(image.device) == "native":
        return run_native("smooth_at", image[:, 0], fraction)[:, None]
    from anystar_torch.kernels.triton import filters

    return filters.smooth(image[:, 0].contiguous(), fraction.contiguous(), per_voxel=True)[:, None]


@_smooth.register_fake
def _(volumes: Tensor, sides: Tensor) -> Tensor:
    return volumes.new_empty(volumes.shape)


@_smooth_noise.register_fake
def _(image: Tensor, fraction: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def _one_per_channel(image: Tensor, sides: Tensor) -> bool:
    return sides.shape[1:] == (image.shape[1], 1, 1, 1)


def torch_smooth(
    image: Float32[Tensor, "b c d h w"], sides: Float32[Tensor, "b n p q r"]
) -> Float32[Tensor, "b c d h w"]:
    """The plain torch implementation of :func:`smooth`."""
    per_axis = not _one_per_channel(image, sides)
    for axis in (2, 3, 4):
        side = sides[:, axis - 2 : axis - 1] if per_axis else sides
        n = image.shape[axis]
        before = torch.cat([image.narrow(axis, 0, 1), image.narrow(axis, 0, n - 1)], dim=axis)
        after = torch.cat([image.narrow(axis, 1, n - 1), image.narrow(axis, n - 1, 1)], dim=axis)
        image = before.add_(after).sub_(image).sub_(image).mul_(side).add_(image)
    return image
