"""Dark objects on a bright ground: absorption instead of emission, a negative instead of a positive."""

from dataclasses import dataclass

from anystar_torch.arrays import Volume
from anystar_torch.augment.chain import with_chance
from anystar_torch.augment.ranges import check_chance
from anystar_torch.random import Source


def invert(image: Volume) -> Volume:
    """Mirror intensities within each sample's own range: ``low + high - image``; twice is the identity.

    Args:
        image: ``[B, 1, D, H, W]``.
    """
    low, high = image.amin((1, 2, 3, 4), keepdim=True), image.amax((1, 2, 3, 4), keepdim=True)
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
