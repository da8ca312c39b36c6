"""Loss of light with depth: absorption and scattering in the specimen."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source


def attenuation(image: Volume, rate: PerSampleAxis) -> Volume:
    """Multiply by ``exp(-rate . t)``, ``[B, 1, D, H, W]``: the Beer-Lambert law along a straight path of light.

    Args:
        image: ``[B, 1, D, H, W]``.
        rate: ``[B, 3]``, logarithm of the loss from the first to the last voxel along z, y, x. ``t`` goes from 0 to 1
            along each axis, and from the opposite face where the rate is negative; 0 leaves the image unchanged.
    """
    falling = rate.neg()
    # From the opposite face t is 1 less, which adds -rate to the exponent. A single voxel along an axis is at t = 0.
    z, y, x = falling.clamp(min=0.0).unbind(1)
    exponent = -(z + y + x)[:, None, None, None, None]
    for axis in range(3):
        size = image.shape[axis + 2]
        depth = torch.linspace(0.0, 1.0, size, dtype=torch.float32, device=image.device)
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = size
        exponent = exponent + falling[:, axis, None, None, None, None] * depth.view(shape)
    return image * exponent.exp()


@dataclass(frozen=True, kw_only=True)
class RandomAttenuation:
    """Exponential attenuation along a random axis, from a random side, in some samples.

    AnyStar has no such effect: its bias field changes the intensity by less.

    Attributes:
        p: chance to apply.
        loss: range of the logarithm of the loss over the depth of the sample; 2.3 leaves a tenth of the light.
    """

    blurs: ClassVar[bool] = False

    p: float
    loss: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("loss", self.loss, 0.0, 5.0)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw axis, side and loss per sample and attenuate ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, self._always, image, source)

    def _always(self, image: Volume, source: Source) -> Volume:
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=image.device)
        side = source.integers("side", 0, 2).to(torch.float32) * 2.0 - 1.0
        return attenuation(image, torch.where(axis, (draw(source, "loss", self.loss) * side)[:, None], 0.0))
