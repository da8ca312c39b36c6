"""Texture inside of objects at a fraction of their size: bright chromatin, dark nucleoli."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import Labels, PerSample, Volume, per_voxel
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.kernels.lattice import Positions, sample_periodic
from anystar_torch.random.source import Source

PERIOD = 32
"""Lattice nodes after which the texture repeats: at least 48 voxels, more than the largest object."""
DEVIATION = 0.54
"""Standard deviation of linearly interpolated white noise of standard deviation 1, averaged over positions:
(2/3)^(3/2)."""


def chromatin(texture: Volume, grain: Volume, nucleoli: PerSample) -> Volume:
    """Factor on an object's intensity: ``exp(grain t) (1 - nucleoli step(-t))``.

    ``step`` rises from 0 to 1 while ``-t`` goes from 0.8 to 1.2. The exponential makes few bright spots in a wide,
    moderately dark remainder, like condensed chromatin. The step makes dark holes with sharp edges.

    Args:
        texture: ``[B, 1, D, H, W]``, t: a smooth field of mean 0 and standard deviation 1.
        grain: ``[B, 1, D, H, W]``, standard deviation of the logarithm of the intensity; 0 for none.
        nucleoli: ``[B]``, share of the intensity that is missing in nucleoli; 0 for none.
    """
    holes = ((-0.8 - texture) * 2.5).clamp_(0.0, 1.0)
    return (texture * grain).exp_() * (1.0 - per_voxel(nucleoli) * holes)


@dataclass(frozen=True, kw_only=True)
class RandomChromatin:
    """Bright spots and dark holes inside of the objects of some samples, as in nuclei with a DNA stain.

    AnyStar has no such samples: its texture has the same scales for objects of every size.

    Attributes:
        p: chance to apply.
        cell: range of the distance between nodes of the texture, voxels of the scene; about the size of a spot.
        grain: range of the standard deviation of the logarithm of the intensity. An object has 0.3 to 1 times the
            value of its sample.
        nucleoli: range of the share of the intensity that is missing in nucleoli.
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
        """Multiply the objects of some samples by the texture, ``[B, 1, D, H, W]``.

        Args:
            image: ``[B, 1, D, H, W]``.
            objects: ``[B, 1, D, H, W]``, any number above 0 that names the object of an emitting voxel; 0 elsewhere.
            position: ``[B, 3, D, H, W]``, position of each voxel in the scene, voxels.
            source: draws.
        """
        if self.p == 0.0:
            return image
        applied = source.coin("applied", self.p)
        if image.device.type != "cpu" or torch.compiler.is_compiling():
            changed = self._always(image, objects, position, source)
            return torch.where(applied[:, None, None, None, None], changed, image)
        rows = applied.nonzero()[:, 0]  # reading the draws does not make a CPU wait
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
