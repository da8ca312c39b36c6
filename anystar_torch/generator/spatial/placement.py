"""The order of the spatial effects: from the finished sample back to the world."""

from collections.abc import Sequence
from dataclasses import dataclass

from anystar_torch.generator.spatial.affine import RandomAffine
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.generator.spatial.crop import RandomWindow
from anystar_torch.generator.spatial.elastic import RandomElastic
from anystar_torch.generator.spatial.orientation import RandomOrientation
from anystar_torch.generator.spatial.zoom import RandomZoom
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a sample lies in the world.

    The original crops, zooms, rotates, flips and deforms a volume, in this order; looked at from the finished sample
    the order is the reverse.

    Attributes:
        least: smallest size of the world along an axis, voxels.
        times: size of the world as a multiple of the finished sample's, where that is larger.
        window: the recorded part of the world.
        zoom: magnification.
        affine: rotation and shift.
        orient: flips and quarter turns.
        elastic: scale, shear, displacement and zero padding.
    """

    least: int
    times: int
    window: RandomWindow
    zoom: RandomZoom
    affine: RandomAffine
    orient: RandomOrientation
    elastic: RandomElastic

    def __post_init__(self) -> None:
        if self.least < 32 or self.times < 1:
            raise ValueError(
                f"the world must be at least 32 voxels and 1 times the sample, got least={self.least}, "
                f"times={self.times}; AnyStar has 128 and 2"
            )

    def world(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """The size of the world, voxels, for finished samples of ``shape``; a multiple of 32."""
        z, y, x = (max(self.least, self.times * n) for n in shape)
        return -(-z // 32) * 32, -(-y // 32) * 32, -(-x // 32) * 32

    def __call__(self, shape: Sequence[int], source: Source) -> Coordinates:
        """Where the voxels of samples of ``shape`` look, in voxels from the centre of the world."""
        world = self.world(shape)
        coordinates = Coordinates.of_grid(shape, self.window.size(world, source("window")))
        coordinates = self.elastic(coordinates, source("elastic"))
        coordinates = self.orient(coordinates, source("orient"))
        coordinates = self.affine(coordinates, source("affine"))
        coordinates = self.zoom(coordinates, source("zoom"))
        return self.window(coordinates, world, source("window"))
