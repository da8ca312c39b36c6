"""What the report measures, against shapes whose size is known."""

import numpy as np
import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.training.checkpoints import last_checkpoint
from anystar_torch.training.object_sizes import BAND_SAMPLES, diameter_band, median_diameter
from anystar_torch.training.report import example_volume


def ball(radius, spacing=(1.0, 1.0, 1.0)):
    z, y, x = (np.arange(-30, 31) * step for step in spacing)
    return (z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius**2).astype(np.int32)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.6, 0.2, 0.2)])
def test_the_diameter_of_a_ball(spacing):
    radius = 10 * min(spacing)
    assert median_diameter(ball(radius, spacing), spacing) == pytest.approx(20, rel=0.02)


def test_the_diameter_is_that_of_the_median_object():
    labels = np.concatenate([ball(r) * label for label, r in enumerate([4, 4, 9, 15, 15], start=1)])
    assert median_diameter(labels, (1, 1, 1)) == pytest.approx(18, rel=0.02)


def test_the_band_is_weighted_by_volume():
    """Against numpy's percentiles of one diameter per labelled voxel."""
    synthesizer = load_synthesizer("plain", shape=(16, 16, 16), seed=2)
    each = []
    for sample in synthesizer(torch.arange(BAND_SAMPLES)).labels.numpy():
        _, place, counts = np.unique(sample[sample > 0], return_inverse=True, return_counts=True)
        each.append(np.cbrt(6 / np.pi * counts)[place])
    expected = np.percentile(np.concatenate(each), [5, 50, 95], method="inverted_cdf")
    assert diameter_band(synthesizer) == pytest.approx(expected, abs=0.06)


def test_a_folder_without_checkpoint_cannot_be_resumed(tmp_path):
    assert last_checkpoint(None) is None
    with pytest.raises(ValueError, match="cannot resume"):
        last_checkpoint(str(tmp_path))


def test_the_example_is_the_one_in_the_stardist_package():
    pytest.importorskip("stardist")
    found = example_volume()
    assert found is not None
    assert all(path.is_file() for path in found)
