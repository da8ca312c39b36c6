"""Dark objects on a bright ground: absorption instead of emission, a negative instead of a positive."""

from dataclasses import dataclass

from anystar_torch.arrays import Volume, per_voxel
from anystar_torch.generator.chain import with_chance
from anystar_torch.generator.parameters import check_chance
from anystar_torch.kernels.intensities import intensity_limits
from anystar_torch.random.source import Source


def invert(image: Volume) -> Volume:
    """Mirror intensities within each sample's own range: ``low + high - image``; twice is the identity.

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    low, high = (per_voxel(limit) for limit in intensity_limits(image).unbind(1))
    return (high - image) + low


@dataclass(frozen=True, kw_only=True)
class RandomInversion:
    """Inverted contrast of some samples.

    No counterpart in AnyStar, whose objects are brighter or darker than their surround each by itself; here all objects
    of a sample change sides together, as in a volume of another modality.

    Attributes:
        p: chance to apply.
    """

    p: float

    def __post_init__(self) -> None:
        check_chance("p", self.p)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Invert some samples of ``image`` ``[B, 1, D, H, W]``."""
        return with_chance(self.p, lambda chosen, _: invert(chosen), image, source)
