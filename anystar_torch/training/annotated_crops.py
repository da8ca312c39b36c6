"""Random crops of annotated volumes, as a function of seed and id, with the generator's spatial maps and effects."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import Sample
from anystar_torch.generator.chain import Chain
from anystar_torch.generator.parameters import Range, check_chance, check_range
from anystar_torch.generator.spatial.affine import rotate_and_shift
from anystar_torch.generator.spatial.coordinates import NEVER, Coordinates
from anystar_torch.generator.spatial.elastic import RandomElastic
from anystar_torch.generator.spatial.orientation import RandomOrientation
from anystar_torch.generator.spatial.zoom import RandomZoom
from anystar_torch.random.source import Source
from anystar_torch.training.annotated_volumes import AnnotatedVolumes

SPLIT = "annotated"
"""Split of the ids of crops: they share no draws with synthetic samples."""


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """Magnification, orientation and deformation of a crop. The z axis stays along z, as in prediction.

    Attributes:
        zoom: magnification.
        turn: range of the rotation about z, degrees.
        tilt: range of the rotations about y and x, degrees.
        orient: mirrored axes.
        elastic: scale, shear and displacement.
    """

    zoom: RandomZoom
    turn: Range
    tilt: Range
    orient: RandomOrientation
    elastic: RandomElastic

    def __post_init__(self) -> None:
        check_range("turn", self.turn, -180.0, 180.0)
        check_range("tilt", self.tilt, -180.0, 180.0)

    def __call__(self, shape: Sequence[int], source: Source) -> Float32[Tensor, "b 3 d h w"]:
        """Draw the position of every voxel from the centre of the crop, ``[B, 3, D, H, W]``, network voxels."""
        # The generator's maps end at the faces of a recorded box. A crop has none: its volume continues.
        endless = torch.full((len(source.root), 3), NEVER, device=source.root.device)
        coordinates = Coordinates.of_grid(shape, endless)
        coordinates = self.elastic(coordinates, source("elastic"))
        coordinates = self.orient(coordinates, source("orient"))
        angles = torch.cat(
            [_angle(source, "turn", self.turn, 1), _angle(source, "tilt", self.tilt, 2)], dim=1
        )
        coordinates = rotate_and_shift(coordinates, angles, torch.zeros_like(angles))
        return self.zoom(coordinates, source("zoom")).position


@dataclass(frozen=True, kw_only=True)
class AnnotatedCrops:
    """Crops of annotated volumes. Crop ``id`` of a seed is the same in every batch.

    Attributes:
        shape: (D, H, W) of a crop, network voxels.
        seed: of everything drawn.
        on_object: chance that a crop is near an object; otherwise it is near annotated background.
        jitter: largest distance of that place from the centre of the crop, as a share of the crop's size.
        view: magnification, orientation and deformation.
        effects: changes of the grey values.
    """

    shape: Sequence[int]
    seed: int
    on_object: float
    jitter: float
    view: RandomView
    effects: Chain

    def __post_init__(self) -> None:
        check_chance("on_object", self.on_object)
        check_chance("jitter", self.jitter)

    @torch.no_grad()
    def __call__(self, volumes: AnnotatedVolumes, ids: Int64[Tensor, " b"]) -> Sample:
        """Image in [0, 1] and labels of crops. Labels are -1 where nothing is annotated.

        Args:
            volumes: the volumes, on the device of the ids.
            ids: ``[B]``, each from 0 to 2^62.
        """
        source = Source.of(ids, seed=self.seed, split=SPLIT)
        number, centre = self._places(volumes, source("place"))
        position = self.view(self.shape, source("view")) + centre[:, :, None, None, None]
        image, labels = volumes.crop(number, position)
        image = self.effects(image, source("effects")).clamp(0.0, 1.0)
        return Sample(image, labels)

    def _places(
        self, volumes: AnnotatedVolumes, source: Source
    ) -> tuple[Int64[Tensor, " b"], Float32[Tensor, "b 3"]]:
        """Volume and centre of every crop."""
        unit = source.uniform("which", 0.0, 1.0)
        near = source.coin("on_object", self.on_object)
        objects, background = (table[_row(unit, table)] for table in (volumes.objects, volumes.background))
        chosen = torch.where(near[:, None], objects, background)
        reach = torch.stack([torch.full_like(unit, self.jitter * size) for size in self.shape], dim=1)
        shift = source.uniform("jitter", -1.0, 1.0, 3) * reach
        return chosen[:, 0].to(torch.int64), chosen[:, 1:] + shift


def _row(unit: Float32[Tensor, " b"], table: Float32[Tensor, "n 4"]) -> Int64[Tensor, " b"]:
    """Row of a table for numbers in (0, 1)."""
    return (unit * len(table)).to(torch.int64).clamp(max=len(table) - 1)


def _angle(source: Source, name: str, bounds: Range, count: int) -> Tensor:
    """Angles in radians, ``[B, count]``."""
    low, high = (math.radians(bound) for bound in bounds)
    return source.uniform(name, low, high, count)
