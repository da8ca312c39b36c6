"""Loss of light with depth: absorption and scattering in the specimen."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.augment.chain import with_chance
from anystar_torch.augment.ranges import Range, check_chance, check_range, draw
from anystar_torch.random import Source


def attenuation(image: Volume, rate: PerSampleAxis) -> Volume:
    """Multiply by ``exp(-rate . t)``: the Beer-Lambert law along a straight path of light.

    Args:
        image: ``[B, 1, D, H, W]``.
        rate: ``[B, 3]``, logarithm of the loss from the first to the last voxel along z, y, x. ``t`` runs from 0 to 1
            along each axis, and from the other face where the rate is negative; 0 leaves the image unchanged.
    """
    exponent: torch.Tensor | None = None
    for axis in range(3):
        size = image.shape[axis + 2]
        from_start = torch.arange(size, dtype=torch.float32, device=image.device) / max(size - 1, 1)
        slope = rate[:, axis, None]
        depth = torch.where(slope < 0.0, from_start - 1.0, from_start) * slope
        shape = [-1, 1, 1, 1, 1]
        shape[axis + 2] = size
        exponent = depth.view(shape) if exponent is None else exponent + depth.view(shape)
    assert exponent is not None
    return image * exponent.neg().exp()


@dataclass(frozen=True, kw_only=True)
class RandomAttenuation:
    """Exponential attenuation along a drawn axis, from a drawn side, on some samples.

    No counterpart in AnyStar, whose bias field changes the intensity by less.

    Attributes:
        p: chance to apply.
        loss: range of the logarithm of the loss over the sample's depth; 2.3 is a loss to a tenth.
    """

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
