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
_PATCH = 96  # voxels per axis of the test volume, at least


@torch.inference_mode()
def measure(network: StarDist, device: torch.device) -> Triple:
    """Voxels, per axis (z, y, x), beyond which a change has less than 0.1 % of its largest effect.

    A patch of smooth noise is predicted with and without a bright block at its centre.
    """
    size = [max(3 * d, -(-_PATCH // d) * d) for d in network.divisor]
    image = _texture(size, device)
    low = [s // 2 // d * d for s, d in zip(size, network.divisor, strict=True)]
    width = 4
    changed = image.clone()
    changed[..., low[0] : low[0] + width, low[1] : low[1] + width, low[2] : low[2] + width] = 1.0
    before, after = network(image), network(changed)
    halo = [1, 1, 1]
    for a, b in zip(before, after, strict=True):
        response = (a - b).abs().amax(dim=(0, 1))
        for axis in range(3):
            profile = response.amax(dim=[other for other in range(3) if other != axis]).cpu().numpy()
            reached = np.flatnonzero(profile > _NEGLIGIBLE * profile.max()) * network.grid[axis]
            if reached.size:
                beyond = max(low[axis] - int(reached[0]), int(reached[-1]) - (low[axis] + width - 1))
                halo[axis] = max(halo[axis], beyond + network.grid[axis])
    return halo[0], halo[1], halo[2]


def _texture(size: list[int], device: torch.device) -> Tensor:
    """Noise of several grain sizes in [0, 1], ``[1, 1, D, H, W]``, always the same."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, *size)
    grains = (2, 4, 8, 16)
    for grain in grains:
        coarse = torch.rand(1, 1, *[max(2, s // grain) for s in size], generator=generator)
        image += torch.nn.functional.interpolate(coarse, size=size, mode="trilinear") / len(grains)
    return image.to(device)
