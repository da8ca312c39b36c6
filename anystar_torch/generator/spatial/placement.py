"""The order of the spatial effects: from the finished sample back to the scene."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from anystar_torch.generator.parameters import check_given, check_whole
from anystar_torch.generator.spatial.affine import RandomAffine
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.generator.spatial.crop import RandomCrop
from anystar_torch.generator.spatial.elastic import RandomElastic
from anystar_torch.generator.spatial.orientation import RandomOrientation
from anystar_torch.generator.spatial.zoom import RandomZoom
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Position and orientation of a sample in the scene.

    AnyStar crops, zooms, rotates, mirrors and deforms a volume, in this order. The steps from the finished sample back
    to the scene have the reverse order.

    Attributes:
        least: smallest size of the scene along an axis, voxels, at least 32.
        times: size of the scene over the size of the finished sample, where that gives more than ``least``.
        crop: the recorded part of the scene.
        zoom: magnification.
        affine: rotation and shift.
        orient: mirrored axes and quarter turns.
        elastic: scale, shear, displacement and zero padding.
    """

    least: int
    times: int
    crop: RandomCrop
    zoom: RandomZoom
    affine: RandomAffine
    orient: RandomOrientation
    elastic: RandomElastic

    def __post_init__(self) -> None:
        check_whole("least", self.least, 32)
        check_whole("times", self.times, 1)
        check_given(**{f"placement.{part.name}": getattr(self, part.name) for part in fields(self)})

    def scene_shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Size (Z, Y, X) of the scene for samples of ``shape`` (D, H, W), voxels; multiples of 32.

        Args:
            shape: (D, H, W) of a sample, voxels.
        """
        z, y, x = (max(self.least, self.times * n) for n in shape)
        return -(-z // 32) * 32, -(-y // 32) * 32, -(-x // 32) * 32

    def __call__(self, shape: Sequence[int], source: Source) -> Coordinates:
        """Draw the position of every voxel of samples of ``shape`` (D, H, W), voxels from the centre of the scene."""
        scene_shape = self.scene_shape(shape)
        crop = source("window")  # "window" is the name of a random stream
        coordinates = Coordinates.of_grid(shape, self.crop.size(scene_shape, crop))
        coordinates = self.elastic(coordinates, source("elastic"))
        coordinates = self.orient(coordinates, source("orient"))
        coordinates = self.affine(coordinates, source("affine"))
        coordinates = self.zoom(coordinates, source("zoom"))
        return self.crop(coordinates, scene_shape, crop)
