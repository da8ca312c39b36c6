"""How large objects are: those a generator makes, and those of an annotated volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.diameter import equivalent_diameter

BAND_SAMPLES = 64  # fewer leave the quantiles of the object size to chance


def diameter_band(synthesizer: Synthesizer) -> tuple[float, float, float]:
    """5 %, 50 % and 95 % quantiles of the volume-equivalent diameter of a voxel's object, in voxels.

    Weighted by volume, as the loss sees the objects; over the first BAND_SAMPLES ids.

    Raises:
        ValueError: a synthesizer that makes no objects.
    """
    parts = torch.split(torch.arange(BAND_SAMPLES), 8)
    labels = torch.cat([synthesizer(ids).labels for ids in parts]).numpy()
    found = np.sort(np.concatenate([np.bincount(sample.reshape(-1))[1:] for sample in labels]))
    found = found[found > 0]
    if not found.size:
        raise ValueError("the synthesizer makes no objects: check the synth settings")
    place = np.searchsorted(np.cumsum(found), np.array([0.05, 0.5, 0.95]) * found.sum())
    low, middle, high = equivalent_diameter(found[place].astype(np.float64))
    return round(float(low), 1), round(float(middle), 1), round(float(high), 1)


def median_diameter(labels: NDArray[Any], spacing: Sequence[float | int]) -> float:
    """Volume-equivalent diameter of the median object, in voxels of the finest axis."""
    volumes = np.bincount(labels.reshape(-1))[1:]
    voxel = float(np.prod(np.array(spacing) / min(spacing)))
    return equivalent_diameter(float(np.median(volumes[volumes > 0])) * voxel)
