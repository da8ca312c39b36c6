"""Intensities as they may be: missing values, and floats far from 1."""

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.instances import Instances
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.object_table import object_table
from anystar_torch.inference.predictor import AnyStar
from tests.inference.scenes import Sees, balls, config


def _found(labels):
    count = int(labels.max())
    return Instances(
        labels=labels,
        points=np.zeros((count, 3), np.float32),
        distances=np.ones((count, 8), np.float32),
        scores=np.ones(count, np.float32),
        rays=Rays.golden_spiral(8),
        prob_thresh=0.5,
        nms_thresh=0.3,
        diameter=3.0,
    )


@pytest.fixture
def scene():
    labels = np.zeros((6, 8, 9), np.int32)
    labels[1:3, 1:4, 1:4], labels[3:6, 5:8, 2:7], labels[0, 0, 0] = 1, 2, 3
    image = np.random.default_rng(0).normal(800, 50, labels.shape)
    return labels, image


def test_the_mean_intensity_is_that_of_the_measured_voxels(scene):
    labels, image = scene
    image[1, :, :], image[4, 6, 3], image[0, 0, 0] = np.nan, np.inf, np.nan
    rows = object_table(_found(labels), image)
    assert rows[0]["mean_intensity"] == pytest.approx(np.nanmean(image[labels == 1]), abs=1e-6)
    measured = image[(labels == 2) & np.isfinite(image)]
    assert rows[1]["mean_intensity"] == pytest.approx(measured.mean(), abs=1e-6)
    assert "mean_intensity" not in rows[2], "no voxel of it was measured"


@pytest.mark.parametrize("factor", [1e-30, 1e-8, 1e30, 1e300])
def test_the_mean_intensity_keeps_six_digits_of_any_number(scene, factor):
    labels, image = scene
    for row, label in zip(object_table(_found(labels), image * factor), (1, 2, 3), strict=True):
        expected = (image[labels == label] * factor).mean()
        assert row["mean_intensity"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "factor", "offset"),
    [
        (np.float32, 1e-30, 0),
        (np.float32, 2e38, 0),
        (np.float32, 2e38, -1e38),
        (np.float64, 1e-30, 0),
        (np.float64, 1e-300, 1e-300),
        (np.float64, 1e38, 0),
        (np.float64, 1e300, -5e299),
        (np.float64, 5e-39, 1e-38),
    ],
)
@pytest.mark.parametrize("resampled", [False, True])
def test_the_scale_of_the_intensities_changes_no_object(dtype, factor, offset, resampled):
    image, _ = balls((24, 40, 24), np.array([[12, 10, 11], [12, 28, 12]]))
    model = AnyStar(Sees().eval(), config())
    options = {"diameter": 11 if resampled else 13, "device": "cpu", "progress": False}
    expected = model.predict(image, **options)
    assert len(expected) == 2
    scaled = (image.astype(np.float64) * factor + offset).astype(dtype)
    found = model.predict(scaled, **options)
    assert np.array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_values_further_apart_than_float64_are_one_line():
    with pytest.raises(ValueError, match="further than float64"):
        intensity_range(np.array([[-1.7e308, 0, 1.7e308]]), "minmax")
