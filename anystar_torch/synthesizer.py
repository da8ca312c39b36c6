"""From sample ids to samples: the only file that knows the order of everything.

ids -> draws -> coordinates -> label field -> image -> intensity effects -> finished sample. Every step is a function
of (seed, split, id) and of position; nothing is kept from one call to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.arrays import Labels, Sample
from anystar_torch.augment.chain import Chain, Finish
from anystar_torch.augment.coordinates import Coordinates
from anystar_torch.augment.placement import Placement
from anystar_torch.random import Source
from anystar_torch.synth.density import RandomDensity
from anystar_torch.synth.gmm import Mixture, interpolation_blur
from anystar_torch.synth.shapes import BallField


@dataclass(frozen=True, kw_only=True)
class World:
    """The world a sample is a view of: objects, and what they and their surround look like.

    Attributes:
        objects: the label field.
        density: how much smaller than the label field the objects lie in the world, and their surround.
        mixture: intensities.
        smallest: objects with fewer voxels in the sample are left out of image and labels.
    """

    objects: BallField
    density: RandomDensity
    mixture: Mixture
    smallest: int
