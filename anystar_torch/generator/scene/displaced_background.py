"""Hollows: a ground in which every object lies in a hole of its own, with a dark rim around what shines of it."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomHollow:
    """Objects that displace their ground on some samples, as nuclei do a stain of the cell around them.

    What shines of an object ends inside of its outline, and the ground outside of it: in between it is dark. Bright
    objects then have a dark rim, dark ones are holes, whatever the ground between them is like.

    No counterpart in AnyStar, whose ground begins where its objects end.

    Attributes:
        p: chance of hollows.
        rim: range of how much further outside of its edge an object's outline is, voxels, beside what the
            instrument's blur calls for (:func:`~anystar_torch.generator.scene.outline.outside`).
    """

    p: float
    rim: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("rim", self.rim, 0.0, 8.0)

    def __call__(self, source: Source) -> PerSample:
        """Each sample's rim, ``[B]``, voxels; 0 for no hollows."""
        return torch.where(source.coin("there", self.p), draw(source, "rim", self.rim), 0.0)
