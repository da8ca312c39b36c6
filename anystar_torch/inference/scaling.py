"""The scale at which a volume is shown to the network, and how results return to the input's voxels.

The network was trained on objects of a certain size, on voxels of a certain shape. A :class:`Scaling` maps the voxel
grid of the input to the one on which the objects have that size. Labels are never resampled: polyhedra are scaled and
then rendered at the resolution of the input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from anystar_torch.arrays import Triple
from anystar_torch.geometry.rays import Rays

_MOST_GROWN = 100_000  # times as many voxels: an object of one voxel grows 2500 times


@dataclass(frozen=True)
class Scaling:
    """Two voxel grids over the same volume: that of the input and that of the network.

    Attributes:
        source: shape of the input, (z, y, x).
        shape: shape of the resampled volume, (z, y, x).
    """

    source: Triple
    shape: Triple

    @classmethod
    def of(
        cls,
        source: Sequence[int],
        spacing: Sequence[float | int],
        diameter: float | int,
        target: float | int,
        rays: Rays,
    ) -> "Scaling":
        """The scaling under which objects of ``diameter`` input voxels measure ``target`` network voxels.

        Args:
            source: shape of the input, (z, y, x).
            spacing: voxel size of the input, (z, y, x); only its ratios matter.
            diameter: object size in the input, in voxels of its finest axis.
            target: object size that the network was trained on, in voxels of its finest axis.
            rays: rays of the network; their anisotropy is the voxel shape that it was trained on.

        Raises:
            ValueError: the network would see 100,000 times as many voxels as there are, as with mixed-up units.
        """
        sides = [
            size * step / min(spacing) * min(rays.anisotropy) / own * target / diameter
            for size, step, own in zip(source, spacing, rays.anisotropy, strict=True)
        ]
        shape = [max(1, round(side)) for side in sides if math.isfinite(side)]
        if len(shape) < len(sides) or math.prod(shape) > _MOST_GROWN * math.prod(source):
            sizes = (
                " x ".join(f"{max(1, round(n)) if n < 1e9 else n:.10g}" for n in size)
                for size in (source, sides)
            )
            raise ValueError(
                f"the volume of {next(sizes)} voxels would be resampled to {next(sizes)}: check spacing "
                f"{tuple(spacing)} and diameter {diameter:.3g} (voxels of the finest axis)"
            )
        return cls(_triple(source), _triple(shape))

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Input voxels per network voxel, (z, y, x)."""
        z, y, x = (a / b for a, b in zip(self.source, self.shape, strict=True))
        return z, y, x

    def points(self, points: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
        """Points in input voxels. Integer coordinates are voxel centres on both grids.

        Args:
            points: (z, y, x) in network voxels.
        """
        scaled: Float32[np.ndarray, "n 3"] = ((points + 0.5) * np.array(self.ratio) - 0.5).astype(np.float32)
        return scaled

    def rays(self, rays: Rays) -> tuple[Rays, Float32[np.ndarray, " r"]]:
        """Rays in the input, and the factor by which the distance along each of them grows.

        An anisotropic scaling changes the direction and the length of every ray by a different amount.

        Args:
            rays: rays of the network.

        Returns:
            Rays of length 1 in input voxels; input voxels per network voxel along each ray.
        """
        ratio = torch.tensor(self.ratio, dtype=rays.vertices.dtype, device=rays.vertices.device)
        scaled = rays.vertices * ratio
        growth = scaled.norm(dim=1)
        z, y, x = (own / r for own, r in zip(rays.anisotropy, self.ratio, strict=True))
        turned = Rays(vertices=scaled / growth[:, None], faces=rays.faces, anisotropy=(z, y, x))
        return turned, growth.cpu().numpy().astype(np.float32)


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
