"""How far a network really looks, measured.

The receptive field that its layers allow is large; what a change far away does to a trained network's output
is far less. The halo of a tile needs to cover the latter.
"""

import numpy as np
import torch
from torch import Tensor

from anystar_torch.inference.scale import Triple
from anystar_torch.stardist import StarDist

_NEGLIGIBLE = 1e-3  # of the largest response
_LENGTH = 96  # voxels of the test volume along the axis that is measured, at first
_LONGEST = 768
_WIDTH = 4  # of the change


@torch.inference_mode()
def measure(network: StarDist, device: torch.device) -> Triple:
    """Voxels, per axis (z, y, x), beyond which a change has less than 0.1 % of its largest effect.

    Smooth noise is predicted with and without a bright block at its centre. Where the response does not fade within
    the volume, a volume twice as long along that axis is tried.
    """
    z, y, x = (_along(axis, network, device) for axis in range(3))
    return z, y, x


def _along(axis: int, network: StarDist, device: torch.device) -> int:
    length = _LENGTH
    while True:
        reach, room = _reach(axis, length, network, device)
        if reach < room or length >= _LONGEST:
            return reach
        length *= 2


def _reach(axis: int, length: int, network: StarDist, device: torch.device) -> tuple[int, int]:
    """How far from the change the response is felt, and how far it could have been."""
    size = [
        max(3 * d, -(-(length if a == axis else _LENGTH // 2) // d) * d)
        for a, d in enumerate(network.divisor)
    ]
    image = _texture(size, device)
    low = [s // 2 // d * d for s, d in zip(size, network.divisor, strict=True)]
    changed = image.clone()
    z, y, x = (slice(a, a + _WIDTH) for a in low)
    changed[..., z, y, x] = 1.0
    before, after = network(image), network(changed)
    step = network.grid[axis]
    room = size[axis] - low[axis] - _WIDTH - step
    return max(step, *(_felt(a - b, axis, step, low[axis]) for a, b in zip(before, after, strict=True))), room


def _felt(response: Tensor, axis: int, step: int, low: int) -> int:
    """Voxels from the change to the last grid point that feels it, and one step more."""
    profile = response.abs().amax(dim=(0, 1, *(other + 2 for other in range(3) if other != axis)))
    values = profile.cpu().numpy()
    reached = np.flatnonzero(values > _NEGLIGIBLE * values.max()) * step
    if not reached.size:
        return step
    return max(low - int(reached[0]), int(reached[-1]) - (low + _WIDTH - 1)) + step


def _texture(size: list[int], device: torch.device) -> Tensor:
    """Noise of several grain sizes in [0, 1], ``[1, 1, D, H, W]``, always the same."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, *size)
    grains = (2, 4, 8, 16)
    for grain in grains:
        coarse = torch.rand(1, 1, *[max(2, s // grain) for s in size], generator=generator)
        image += torch.nn.functional.interpolate(coarse, size=size, mode="trilinear") / len(grains)
    return image.to(device)
