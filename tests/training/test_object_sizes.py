"""Diameters of objects against balls, and quantiles by counting voxels."""

import math

import numpy as np
import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.training import object_sizes
from anystar_torch.training.object_sizes import diameter_band, median_diameter


def test_the_median_object_is_measured_in_voxels_of_the_finest_axis():
    """Objects of 10, 40 and 1000 voxels, with ids that have gaps; a voxel has the volume of 4 x 2 finest ones."""
    labels = np.zeros((20, 20, 20), np.int32)
    labels.reshape(-1)[:1050] = np.repeat([2, 5, 9], [10, 40, 1000])
    expected = (6 / math.pi * 40 * 8) ** (1 / 3)
    assert median_diameter(labels, (2.0, 0.5, 1.0)) == pytest.approx(expected)
    assert median_diameter(labels, (1, 1, 1)) == pytest.approx((6 / math.pi * 40) ** (1 / 3))


@pytest.mark.long
def test_the_band_has_quantiles_over_the_voxels_of_objects(monkeypatch):
    monkeypatch.setattr(object_sizes, "BAND_SAMPLES", 12)  # in two parts
    synthesizer = load_synthesizer("mix", shape=(16, 16, 16), seed=2)
    labels = synthesizer(torch.arange(12)).labels
    volumes = torch.cat([sample.flatten().bincount()[1:] for sample in labels]).sort().values
    of_voxels = volumes.repeat_interleave(volumes)  # for every voxel the volume of its object
    places = [math.ceil(q * len(of_voxels)) - 1 for q in (0.05, 0.5, 0.95)]
    expected = [(6 / math.pi * int(of_voxels[place])) ** (1 / 3) for place in places]
    assert diameter_band(synthesizer) == pytest.approx(expected, abs=0.051)
    assert expected[0] < expected[1] < expected[2]
