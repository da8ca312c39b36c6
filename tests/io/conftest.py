"""A small anisotropic volume and its labels."""

import numpy as np
import pytest

SHAPE = (5, 7, 9)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, SHAPE)


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 60000, SHAPE).astype(np.uint16)
