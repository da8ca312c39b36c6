"""Texture inside objects at a fraction of their size: bright chromatin, dark nucleoli."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import Labels, PerSample, Volume, per_voxel
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.lattice import Positions, sample_periodic
from anystar_torch.random.source import Source

PERIOD = 32
"""Lattice nodes after which the texture repeats: 50 voxels and more, beyond the largest object."""
DEVIATION = 0.54
"""Deviation of linearly interpolated white noise of deviation 1, on average over positions: (2/3)^(3/2)."""


def chromatin(texture: Volume, grain: Volume, nucleoli: PerSample) -> Volume:
    """Factor on an object's intensity: ``exp(grain t) (1 - nucleoli step(-t))``.

    ``step`` rises from 0 to 1 while ``-t`` goes from 0.8 to 1.2. The exponential makes few bright spots and a wide,
    moderately dark rest, as condensed chromatin does; the step makes dark holes with sharp edges.

    Args:
        texture: ``[B, 1, D, H, W]``, t: a smooth field of mean 0 and deviation 1.
        grain: ``[B, 1, D, H, W]``, deviation of the logarithm of the intensity; 0 for none.
        nucleoli: ``[B]``, share of the intensity that nucleoli lack; 0 for none.
    """
    holes = ((-0.8 - texture) * 2.5).clamp_(0.0, 1.0)
    return (texture * grain).exp_() * (1.0 - per_voxel(nucleoli) * holes)


@dataclass(frozen=True, kw_only=True)
class RandomChromatin:
    """Bright spots and dark holes inside the objects of some samples, as in nuclei with a DNA stain.

    No counterpart in AnyStar, whose texture is the same for objects of every size.

    Attributes:
        p: chance to apply.
        cell: range of the distance between nodes of the texture, voxels of the scene; spots are about as large.
        grain: range of the deviation of the logarithm of the intensity; each object has 0.3 to 1 of the sample's.
        nucleoli: range of the share of the intensity that nucleoli lack.
    """

    p: float
    cell: Range
    grain: Range
    nucleoli: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("cell", self.cell, 1.0, 32.0)
        check_range("grain", self.grain, 0.0, 2.0)
        check_range("nucleoli", self.nucleoli, 0.0, 1.0)

    def __call__(self, image: Volume, objects: Labels, position: Positions, source: Source) -> Volume:
        """Give the objects of some samples their chromatin.

        Args:
            image: ``[B, 1, D, H, W]``.
            objects: ``[B, 1, D, H, W]``, any number that names the object of an emitting voxel, 0 = none.
            position: ``[B, 3, D, H, W]``, where each voxel lies in the scene, voxels.
            source: draws.
        """
        if self.p == 0.0:
            return image
        applied = source.coin("applied", self.p)
        if image.device.type != "cpu" or torch.compiler.is_compiling():
            changed = self._always(image, objects, position, source)
            return torch.where(applied[:, None, None, None, None], changed, image)
        rows = applied.nonzero()[:, 0]  # on the CPU looking at the coins costs nothing
        if len(rows) == 0:
            return image
        changed = self._always(image[rows], objects[rows], position[rows], source[rows])
        return image.index_copy(0, rows, changed)

    def _always(self, image: Volume, objects: Labels, position: Positions, source: Source) -> Volume:
        cell = draw(source, "cell", self.cell)
        noise = source.normal("texture", 1, PERIOD, PERIOD, PERIOD) * (1.0 / DEVIATION)
        texture = sample_periodic(noise, position * (1.0 / cell)[:, None, None, None, None])
        share = source.uniform_at("share", objects, 0.3, 1.0)
        grain = per_voxel(draw(source, "grain", self.grain)) * share
        factor = chromatin(texture, grain, draw(source, "nucleoli", self.nucleoli))
        return torch.where(objects > 0, image * factor, image)
