"""One magnification for all axes; mirror images fill the space around a reduced volume."""

import math
from dataclasses import dataclass, replace

import torch

from anystar_torch.arrays import PerSample
from anystar_torch.generator.interpolation import LARGEST_SPREAD, MEAN_SPREAD
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.spatial.coordinates import NEVER, Coordinates, Step, identity
from anystar_torch.random.source import Source

WIDEST = math.sqrt(LARGEST_SPREAD / MEAN_SPREAD)
"""Largest factor whose interpolation three taps can replace: 2. The edges of larger factors are as wide as at 2."""


def zoom(coordinates: Coordinates, factor: PerSample) -> Coordinates:
    """Magnify about the centre of the volume, keeping its size.

    Below 1 the magnified volume is smaller than the box and is reflected at its outermost voxel centres, as
    ``np.pad(mode="reflect")`` does. Factor 1 leaves the positions unchanged.

    Args:
        coordinates: positions in the magnified volume.
        factor: ``[B]``, positive.
    """
    factor = factor[:, None]
    half = torch.where(factor < 1.0, (coordinates.size * factor - 1.0) / 2.0, NEVER)
    matrix = identity(coordinates.size) / factor[:, :, None]
    # Interpolation between voxels that are `factor` finished voxels apart.
    spread = coordinates.spread + MEAN_SPREAD * (factor * factor)[:, 0]
    return replace(coordinates.reflected(half), spread=spread).then(Step(matrix))


@dataclass(frozen=True, kw_only=True)
class RandomZoom:
    """Magnification of every sample (AnyStar: MONAI ``RandZoomd``, one factor for all axes, reflection).

    Deliberate difference: image and labels are evaluated at the same place. The original's nearest-neighbour labels
    lie up to half a source voxel off its image.

    Attributes:
        factor: range of the magnification. Above :data:`WIDEST` edges are sharper than those of an interpolation.
    """

    factor: Range

    def __post_init__(self) -> None:
        check_range("factor", self.factor, 0.34, 10.0)

    def __call__(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Draw a factor per sample and magnify."""
        zoomed = zoom(coordinates, draw(source, "factor", self.factor))
        if self.factor[1] <= WIDEST:
            return zoomed
        return replace(zoomed, spread=zoomed.spread.clamp(max=LARGEST_SPREAD))
