"""The network and the volume of most predictions block by block."""

import pytest

from tests.distributed.cases import crowd, model


@pytest.fixture(scope="module")
def network():
    return model(coarse_pass=False)


@pytest.fixture(scope="module")
def volume():
    return crowd((40, 48, 60), 30)
