"""The scene: objects, where they emit light, and the intensities of objects and background."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, PerSampleAxis, Volume, per_voxel
from anystar_torch.generator.parameters import check_given, check_whole, draw
from anystar_torch.generator.scene.chromatin import RandomChromatin
from anystar_torch.generator.scene.density import RandomDensity
from anystar_torch.generator.scene.displaced_background import RandomDisplacedBackground
from anystar_torch.generator.scene.intensities import IntensityDraws, Mixture
from anystar_torch.generator.scene.outline import Outline, emitting, outline_offset
from anystar_torch.generator.scene.shapes import BallField
from anystar_torch.generator.scene.slab import RandomSlab
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.random.source import Source


@dataclass(frozen=True)
class SceneDraws:
    """Draws of a scene that more than one part of it uses.

    Attributes:
        intensities: parameters of objects and background.
        outline: ``[B]``, distance from an edge to its outline, in standard deviations of the blur.
        rim: ``[B]``, voxels; additional distance where objects displace the background, else 0.
    """

    intensities: IntensityDraws
    outline: PerSample
    rim: PerSample


@dataclass(frozen=True)
class LocatedObjects:
    """The object of every voxel of a sample.

    Attributes:
        numbers: ``[B, 1, D, H, W]``, a number for each object and mirror image; 0 for the background.
        depth: ``[B, 1, D, H, W]``, distance below the surface along the ray from the centre, voxels of the scene.
        reach: ``[B, 1, D, H, W]``, distance of that surface from the centre, voxels of the scene.
    """

    numbers: Int32[Tensor, "b 1 d h w"]
    depth: Float32[Tensor, "b 1 d h w"]
    reach: Float32[Tensor, "b 1 d h w"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The synthetic space that samples are taken from.

    Attributes:
        objects: the label field.
        density: shrinks the scene along each axis and fills the space around it.
        mixture: intensities of objects and background.
        outline: distance from edges to outlines; none in AnyStar.
        displaced_background: samples whose objects displace the background; none in AnyStar.
        slab: samples that are stacks of few slices; none in AnyStar.
        chromatin: samples with texture inside of their objects; none in AnyStar.
        smallest: pieces of objects with fewer voxels than this are removed. Pieces that mirrors and the faces of the
            recorded box cut off are removed from image and labels. Pieces that later steps leave (holes, slabs) lose
            their label and stay in the image.
    """

    objects: BallField
    density: RandomDensity
    mixture: Mixture
    outline: Outline
    displaced_background: RandomDisplacedBackground
    slab: RandomSlab
    chromatin: RandomChromatin
    smallest: int

    def __post_init__(self) -> None:
        check_whole("smallest", self.smallest, 1)
        check_given(**{f"scene.{part.name}": getattr(self, part.name) for part in fields(self)})

    def check_shape(self, scene_shape: Sequence[int]) -> None:
        """Check what depends on the size of the scene.

        Args:
            scene_shape: (Z, Y, X), voxels.

        Raises:
            ValueError: the scene has too many objects, or too few nodes of the texture.
        """
        self.objects.check_numbers(scene_shape)
        self.mixture.texture.check_nodes(scene_shape)

    @property
    def places_outlines(self) -> bool:
        """Whether the distance between edges and outlines depends on the blur of the image."""
        return self.outline.widths[1] > 0.0

    def draw(self, source: Source) -> SceneDraws:
        """The draws that several parts of the scene use. A plain background is dark and would hide a rim.

        Args:
            source: draws of the samples.
        """
        intensities = self.mixture.draw(source("mixture"))
        rim = self.displaced_background(source("hollow"))  # "hollow" is the name of a random stream
        outline = draw(source("outline"), "widths", self.outline.widths)
        return SceneDraws(intensities, outline, torch.where(intensities.background.plain, 0.0, rim))

    def locate(self, coordinates: Coordinates, scene_shape: Sequence[int], source: Source) -> LocatedObjects:
        """The object at every voxel of a sample.

        Args:
            coordinates: position of every voxel in the scene.
            scene_shape: (Z, Y, X), voxels.
            source: draws of the scene.
        """
        stretched = self.slab.stretched(coordinates, source("slab"))
        placed = self.density(stretched, scene_shape, source("density"))
        field = self.objects(placed.position, scene_shape, source("objects"))
        covered = (field.ball > 0) & (coordinates.cover >= 0.5)
        numbers = torch.where(covered, placed.piece * field.count + field.ball, 0)
        return LocatedObjects(numbers, field.depth, field.reach)

    def emitting(
        self, located: LocatedObjects, blur: PerSampleAxis | None, drawn: SceneDraws
    ) -> Bool[Tensor, "b 1 d h w"]:
        """Mask of emitting voxels, ``[B, 1, D, H, W]``.

        Args:
            located: the objects.
            blur: ``[B, 3]``, standard deviation of the instrument's blur along z, y, x, voxels. None without outlines.
            drawn: what :meth:`draw` returned.
        """
        if blur is None and self.displaced_background.p == 0.0:
            return located.numbers > 0
        offset = drawn.rim[:, None].expand(-1, 3)
        if blur is not None:
            offset = outline_offset(drawn.outline, blur, self.outline.defocus) + offset
        return emitting(located.depth, located.reach, offset)

    def image(
        self,
        objects: Labels,
        displaced: Bool[Tensor, "b 1 d h w"],
        coordinates: Coordinates,
        scene_shape: Sequence[int],
        drawn: SceneDraws,
        source: Source,
    ) -> Volume:
        """The image before the instrument, ``[B, 1, D, H, W]``.

        Args:
            objects: ``[B, 1, D, H, W]``, the number of the object of every emitting voxel; 0 elsewhere.
            displaced: ``[B, 1, D, H, W]``, voxels that belong to an object, emitting or not.
            coordinates: position of every voxel in the scene.
            scene_shape: (Z, Y, X), voxels.
            drawn: what :meth:`draw` returned.
            source: draws of the scene.
        """
        displaced = displaced & (per_voxel(drawn.rim) > 0.0)
        image = self.mixture(
            objects, displaced, coordinates, scene_shape, drawn.intensities, source("mixture")
        )
        return self.chromatin(image, objects, coordinates.position, source("chromatin"))
