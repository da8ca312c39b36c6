"""The Triton kernels of effects (filters, intensities, noise, spectrum) compute what the native ones do."""

import pytest
import torch

from anystar_torch.kernels.filters import thick_slices
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


@pytest.mark.parametrize("thickness", [8.0, 17.0, 64.0])
def test_a_constant_stays_constant_however_thick_the_slices_are(thickness):
    starts = torch.linspace(-0.4999, 0.4999, 9)[:, None].expand(-1, 3).contiguous()
    image = torch.full((9, 1, 8, 8, 8), 0.7)
    with forced("triton"):
        out = thick_slices(image, torch.full((9, 3), thickness), starts)
    torch.testing.assert_close(out, image, rtol=0, atol=1e-6)
