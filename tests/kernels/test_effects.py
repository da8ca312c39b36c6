"""The Triton kernels of effects (filters, intensities, noise, spectrum) compute what the native ones do."""

import pytest

from anystar_torch.kernels.implementations import forced
from tests.generator.effects.cases import CASES, Draws, compare, image_of

pytest.importorskip("triton")
pytestmark = pytest.mark.interpreter

BITS = ("dropout", "smooth", "rescale", "to_unit")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 70, 1), (5, 9, 33)])
@pytest.mark.parametrize("name", CASES)
def test_triton_equals_native(name, shape):
    image = image_of(shape)
    with forced("native"):
        expected = CASES[name](image, Draws(4))
    with forced("triton"):
        found = CASES[name](image, Draws(4))
    compare(name, found, expected)
    if name in BITS:
        assert found.equal(expected)
