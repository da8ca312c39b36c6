"""How far a network really looks, measured.

The receptive field that its layers allow is large; what a trained network makes of it is less. The halo of a tile needs
to cover the latter. What happens at the border of a tile is that the volume ends there, so that is the change whose
effect is measured: a cut disturbs far more than a spot, and is felt one and a half times as far.
"""

import numpy as np
import torch
from torch import Tensor

from anystar_torch.inference.scale import Triple
from anystar_torch.inference.tile_network import Eye

_NEGLIGIBLE = 1e-3  # of the largest response
_WIDTH = 48  # voxels of the test volume across the axis that is measured, at least
_LENGTH = 96  # voxels beyond the cut along it, at first
_LONGEST = 192


def measure(eye: Eye) -> Triple:
    """Voxels, per axis (z, y, x), beyond which cutting a volume has less than 0.1 % of its largest effect.

    Smooth noise is predicted whole and without the half on one side of a plane; the effect is the change of the
    probability or of a distance, whichever is felt further. It is measured in float32, whatever the precision of the
    prediction, and without TensorFloat-32: what bfloat16 rounds differs as far as layers reach, and is noise that a
    halo does not take away. Where the response does not fade within the volume, one twice as long is tried.
    """
    z, y, x = (_along(axis, eye) for axis in range(3))
    return z, y, x


def _along(axis: int, eye: Eye) -> int:
    length = _LENGTH
    while True:
        faint = _felt(axis, length, eye)
        if faint < length or length >= _LONGEST:
            return faint
        length *= 2


def _felt(axis: int, length: int, eye: Eye) -> int:
    """Voxels from the cut to where its effect is negligible, on its worse side."""
    divisor, step = eye.network.divisor, eye.network.grid[axis]
    half = -(-length // divisor[axis]) * divisor[axis]
    size = [2 * half if a == axis else max(2 * d, -(-_WIDTH // d) * d) for a, d in enumerate(divisor)]
    image = _texture(size, eye.device)
    whole, points = eye.look(image, torch.float32), half // step
    faint = 1
    for first in (0, 1):
        cut = eye.look(image.narrow(axis + 2, first * half, half), torch.float32)
        for before, after in zip(whole, cut, strict=True):
            response = (before.narrow(axis + 2, first * points, points) - after).abs()
            profile = response.amax(dim=(0, 1, *(a + 2 for a in range(3) if a != axis))).cpu().numpy()
            depth = profile if first else profile[::-1]  # from the cut inwards
            faint = max(faint, _last(depth > _NEGLIGIBLE * depth.max()))
    return faint * step


def _last(felt: np.ndarray) -> int:
    """How many points there are up to the last that feels anything."""
    places = np.flatnonzero(felt)
    return int(places[-1]) + 1 if places.size else 0


def _texture(size: list[int], device: torch.device) -> Tensor:
    """Noise of several grain sizes in [0, 1], ``[1, 1, D, H, W]``, always the same."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, *size)
    grains = (2, 4, 8, 16)
    for grain in grains:
        coarse = torch.rand(1, 1, *[max(2, s // grain) for s in size], generator=generator)
        image += torch.nn.functional.interpolate(coarse, size=size, mode="trilinear") / len(grains)
    return image.to(device)
