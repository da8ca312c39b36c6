"""The volume-equivalent diameter against the volume of balls."""

import numpy as np
import pytest

from anystar_torch.geometry.diameter import equivalent_diameter


def test_the_diameter_of_a_ball_is_found_from_its_volume():
    radius = np.array([0.5, 1.0, 7.25])
    volume = 4 / 3 * np.pi * radius**3
    assert equivalent_diameter(volume) == pytest.approx(2 * radius, rel=1e-12)
    assert equivalent_diameter(float(volume[2])) == pytest.approx(14.5, rel=1e-12)
    assert equivalent_diameter(0.0) == 0
