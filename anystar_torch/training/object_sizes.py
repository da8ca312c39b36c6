"""Volume-equivalent diameters of synthetic objects and of the objects of an annotated volume."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Integer

from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.diameter import equivalent_diameter

BAND_SAMPLES = 64
"""Number of samples whose objects are measured."""


def diameter_band(synthesizer: Synthesizer) -> tuple[float, float, float]:
    """Quantiles (5 %, 50 %, 95 %) of the volume-equivalent diameters of synthetic objects, in voxels.

    The quantiles are weighted by volume, as the objects are in the loss. Objects of the first :data:`BAND_SAMPLES` ids
    are measured.

    Args:
        synthesizer: makes the samples.

    Raises:
        ValueError: the samples have no objects.
    """
    parts = torch.split(torch.arange(BAND_SAMPLES), 8)
    labels = torch.cat([synthesizer(ids).labels for ids in parts]).numpy()
    found = np.sort(np.concatenate([np.bincount(sample.reshape(-1))[1:] for sample in labels]))
    found = found[found > 0]
    if not found.size:
        raise ValueError("the generator makes no objects: check its settings")
    place = np.searchsorted(np.cumsum(found), np.array([0.05, 0.5, 0.95]) * found.sum())
    low, middle, high = equivalent_diameter(found[place].astype(np.float64))
    return round(float(low), 1), round(float(middle), 1), round(float(high), 1)


def median_diameter(labels: Integer[np.ndarray, "d h w"], spacing: Sequence[float | int]) -> float:
    """Volume-equivalent diameter of the median object, in voxels of the finest axis.

    Args:
        labels: integer labels ``[D, H, W]``, 0 = background.
        spacing: voxel size (z, y, x), in any unit.
    """
    volumes = np.bincount(labels.reshape(-1))[1:]
    voxel = float(np.prod(np.array(spacing) / min(spacing)))
    return equivalent_diameter(float(np.median(volumes[volumes > 0])) * voxel)
