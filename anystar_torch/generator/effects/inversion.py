"""Inversion: dark objects on a bright background, as in absorption instead of emission."""

from dataclasses import dataclass
from typing import ClassVar

from anystar_torch.arrays import Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import check_chance
from anystar_torch.kernels.intensities import intensity_limits
from anystar_torch.random.source import Source


def invert(image: Volume) -> Volume:
    """Mirror intensities within the range of each sample: ``low + high - image``. Applied twice it is the identity.

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    low, high = (per_voxel(limit) for limit in intensity_limits(image).unbind(1))
    return (high - image) + low


@dataclass(frozen=True, kw_only=True)
class RandomInversion:
    """Inverted contrast of some samples.

    AnyStar has no such effect: each of its objects is brighter or darker than the background independently. Here all
    objects of a sample are inverted together, as in a volume of another modality.

    Attributes:
        p: chance to apply.
    """

    blurs: ClassVar[bool] = False

    p: float

    def __post_init__(self) -> None:
        check_chance("p", self.p)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Invert some samples of ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, lambda chosen, _: invert(chosen), image, source)
