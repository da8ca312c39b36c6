"""Displaced background: every object lies in a hole of the background, with a dark rim around its emitting part."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSample
from anystar_torch.generator.parameters import Range, check_chance, check_range, draw
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomDisplacedBackground:
    """Objects that displace the background in some samples, as nuclei displace a stain of the cytoplasm.

    The emitting part of an object ends inside of its outline, and the background ends at the outline. The rim between
    them is dark. Bright objects then have a dark rim, and dark objects are holes, for a background of any brightness.
    AnyStar has no such samples: its background begins where its objects end.

    Attributes:
        p: chance to apply.
        rim: range of the width of the rim, voxels. It adds to the distance that the instrument's blur causes
            (:func:`~anystar_torch.generator.scene.outline.outline_offset`).
    """

    p: float
    rim: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("rim", self.rim, 0.0, 8.0)

    def __call__(self, source: Source) -> PerSample:
        """Width of the rim of each sample, ``[B]``, voxels; 0 where objects do not displace the background."""
        return torch.where(source.coin("there", self.p), draw(source, "rim", self.rim), 0.0)
