"""The two arrays everything here speaks of, and the shapes they have.

Arrays are ZYX everywhere: ``[B, 1, D, H, W]`` with D along z. Images are float32, labels int32 (0 = background);
nothing else is accepted inside the package, conversion happens in :mod:`anystar_torch.io`.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float32, Int32
from torch import Tensor

Volume = Float32[Tensor, "b 1 d h w"]
Labels = Int32[Tensor, "b 1 d h w"]
Mask = Bool[Tensor, "b 1 d h w"]
PerSample = Float32[Tensor, "b"]
PerSampleAxis = Float32[Tensor, "b 3"]


@dataclass(frozen=True)
class Sample:
    """A batch of synthetic volumes.

    Attributes:
        image: ``[B, 1, D, H, W]`` float32 in [0, 1].
        labels: ``[B, 1, D, H, W]`` int32, 0 = background; every id is one object of its sample.
    """

    image: Volume
    labels: Labels


def per_voxel(parameter: PerSample) -> Float32[Tensor, "b 1 1 1 1"]:
    """A parameter per sample, ``[B]``, shaped to broadcast over the voxels of ``[B, 1, D, H, W]``."""
    return parameter[:, None, None, None, None]
