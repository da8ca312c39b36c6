"""Rotation and shift about the centre of the volume; the volume continues as its mirror image."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.spatial.coordinates import Coordinates, Step
from anystar_torch.kernels.coordinates import REFLECT
from anystar_torch.random.source import Source

LARGEST_SHIFT = 64.0
"""Voxels; the size of AnyStar's samples and the least size of its recorded box."""


def rotation(angles: PerSampleAxis) -> Float32[Tensor, "b 3 3"]:
    """``R_z(a) R_y(b) R_x(c)``, rotations about the z, y and x axes of ``[B, 3]`` angles (a, b, c), radians.

    With arrays ZYX this is MONAI's ``create_rotate`` for three radians: the first turns the last two axes.

    Args:
        angles: ``[B, 3]``, radians.
    """
    (ca, cb, cc), (sa, sb, sc) = angles.cos().unbind(1), angles.sin().unbind(1)
    rows = [
        [cb * cc, -(cb * sc), sb],
        [sa * sb * cc + ca * sc, ca * cc - sa * sb * sc, -(sa * cb)],
        [sa * sc - ca * sb * cc, ca * sb * sc + sa * cc, ca * cb],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def rotate_and_shift(coordinates: Coordinates, angles: PerSampleAxis, shift: PerSampleAxis) -> Coordinates:
    """``R (position + shift)``, reflected at the outermost voxel centres of the volume.

    Args:
        coordinates: positions in the turned volume.
        angles: ``[B, 3]``, radians, see ``rotation``.
        shift: ``[B, 3]``, voxels along z, y, x.
    """
    half = (coordinates.size - 1.0) / 2.0
    return coordinates.then(Step(rotation(angles), before=shift, half=half, limit=REFLECT))


@dataclass(frozen=True, kw_only=True)
class RandomAffine:
    """Rotation and shift of every sample (AnyStar: MONAI ``RandAffined``, reflection padding).

    Attributes:
        angle: range of each of the three angles, degrees.
        shift: range of the shift along each axis, voxels, from -64 to 64. A shift beyond the recorded box would show
            places that one reflection does not bring back into it.
    """

    angle: Range
    shift: Range

    def __post_init__(self) -> None:
        check_range("angle", self.angle, -180.0, 180.0)
        check_range("shift", self.shift, -LARGEST_SHIFT, LARGEST_SHIFT)

    def __call__(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Draw angles and shifts per sample, and turn."""
        low, high = (math.radians(bound) for bound in self.angle)
        return rotate_and_shift(
            coordinates, source.uniform("angle", low, high, 3), draw(source, "shift", self.shift, 3)
        )
