"""Density: each axis of the scene is shrunk by a factor, and the space around it is empty or a mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.generator.parameters import check_chance, check_numbers
from anystar_torch.generator.scene.stretch import RandomStretch
from anystar_torch.generator.spatial.coordinates import NEVER, Coordinates, Step, identity
from anystar_torch.kernels.coordinates import REFLECT
from anystar_torch.random.source import Source


def shrink(
    coordinates: Coordinates,
    factor: PerSampleAxis,
    mirrored: Bool[torch.Tensor, " b"],
    scene_shape: Sequence[int],
) -> Coordinates:
    """Coordinates into a scene whose axes were padded to ``factor`` times their length and rescaled to the original.

    Args:
        coordinates: positions in the rescaled scene.
        factor: ``[B, 3]``, 1 for none.
        mirrored: ``[B]``, whether the padding continues the scene by reflection; otherwise positions go beyond its
            faces, where nothing is.
        scene_shape: (Z, Y, X), voxels.
    """
    matrix = identity(factor) * factor[:, :, None]
    half = torch.stack([torch.full_like(factor[:, a], (scene_shape[a] - 1) / 2.0) for a in range(3)], dim=1)
    half = torch.where(mirrored[:, None], half, NEVER)
    return coordinates.then(Step(matrix, half=half, limit=REFLECT))


@dataclass(frozen=True, kw_only=True)
class RandomDensity:
    """A factor per axis, and empty or mirrored space around the scene (AnyStar's second script).

    Attributes:
        factors: the choices of padded length over length, for each axis on its own.
        mirrored: chance that the scene continues as its mirror image.
        stretch: makes the objects of some samples elongated or flat; None for AnyStar's objects.
    """

    factors: Sequence[float]
    mirrored: float
    stretch: RandomStretch | None = None

    def __post_init__(self) -> None:
        check_chance("mirrored", self.mirrored)
        check_numbers("factors", self.factors, 1.0, 3.0)

    def __call__(self, coordinates: Coordinates, scene_shape: Sequence[int], source: Source) -> Coordinates:
        """Draw the factors of each sample and shrink its scene.

        Args:
            coordinates: positions in the shrunk scene.
            scene_shape: (Z, Y, X), voxels.
            source: draws.
        """
        if self.stretch is not None:
            coordinates = self.stretch(coordinates, source("stretch"))
        choice = source.integers("factor", 0, len(self.factors), 3)
        factor = torch.zeros_like(coordinates.size)
        for number, value in enumerate(self.factors):
            factor = torch.where(choice == number, value, factor)
        return shrink(coordinates, factor, source.coin("mirrored", self.mirrored), scene_shape)
