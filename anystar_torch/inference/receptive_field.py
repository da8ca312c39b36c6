"""The effective receptive field of a network, measured.

The receptive field that the layers allow is large; the effective one, in which an input voxel changes the output by
more than a bound, is smaller. The halo of a tile must cover it. At the border of a tile the volume ends, so the effect
of a cut is measured. A cut disturbs the output much more than a single voxel does, and 1.5 times as far.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.network.stardist import Prediction

_BOUND = 1e-3  # share of the largest effect below which an effect is negligible
_WIDTH = 48  # voxels of the test volume across the measured axis, at least
_LENGTH = 96  # voxels beyond the cut along the measured axis, at first
_MAX_LENGTH = 192

Predict = Callable[[Tensor], Prediction]


def effective_receptive_field(
    predict: Predict, divisor: Triple, grid: Triple, device: torch.device
) -> Triple:
    """Voxels to each side, (z, y, x), beyond which cutting a volume has less than 0.1 % of its largest effect.

    Smooth noise is predicted whole, and without the half on one side of a plane. The effect is the change of the
    probability or of a distance, whichever reaches further. If it does not fade within the test volume, one of twice
    the length is used.

    Args:
        predict: the network in float32. Rounding in lower precision differs as far as the layers reach, and a halo does
            not reduce it.
        divisor: sizes of inputs are multiples of it.
        grid: subsampling of the prediction, (z, y, x).
        device: device of the network.
    """
    z, y, x = (_along(axis, predict, divisor, grid[axis], device) for axis in range(3))
    return z, y, x


def _along(axis: int, predict: Predict, divisor: Triple, step: int, device: torch.device) -> int:
    """The effective receptive field along one axis, in voxels."""
    length = _LENGTH
    while True:
        reach = step * _reach_of_cut(axis, length, predict, divisor, step, device)
        if reach < length or length >= _MAX_LENGTH:
            return reach
        length *= 2


def _reach_of_cut(
    axis: int, length: int, predict: Predict, divisor: Triple, step: int, device: torch.device
) -> int:
    """Grid points from the cut to where its effect is negligible, on the side where it reaches further."""
    half = -(-length // divisor[axis]) * divisor[axis]
    size = [2 * half if a == axis else max(2 * d, -(-_WIDTH // d) * d) for a, d in enumerate(divisor)]
    image = _smooth_noise(size).to(device)
    whole, points = predict(image), half // step
    reach = 1
    for first in (0, 1):
        cut = predict(image.narrow(axis + 2, first * half, half))
        for before, after in zip(whole, cut, strict=True):
            effect = (before.narrow(axis + 2, first * points, points) - after).abs()
            profile = effect.amax(dim=(0, 1, *(a + 2 for a in range(3) if a != axis))).cpu().numpy()
            profile = profile if first else profile[::-1]  # from the cut inwards
            reach = max(reach, _last(profile > _BOUND * profile.max()))
    return reach


def _last(above: Bool[np.ndarray, " n"]) -> int:
    """Number of elements up to the last true one."""
    places = np.flatnonzero(above)
    return int(places[-1]) + 1 if places.size else 0


def _smooth_noise(size: Sequence[int]) -> Float32[Tensor, "1 1 d h w"]:
    """Noise of several grain sizes in [0, 1], the same in every run."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, *size, dtype=torch.float32)
    grains = (2, 4, 8, 16)
    for grain in grains:
        coarse = torch.rand(
            1, 1, *[max(2, s // grain) for s in size], generator=generator, dtype=torch.float32
        )
        image += torch.nn.functional.interpolate(coarse, size=list(size), mode="trilinear") / len(grains)
    return image
