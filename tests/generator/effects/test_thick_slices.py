"""Thick slices against numerical integrals."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from anystar_torch.kernels.filters import thick_slices
from anystar_torch.kernels.implementations import Implementation, forced


def reference(line: np.ndarray, thickness: float, start: float) -> np.ndarray:
    """Slice means by numerical integration of the piecewise constant line, then numpy's interpolation."""
    size = len(line)
    first = min(start * thickness, max(size - thickness / 2, 0))
    last = max(int(np.floor((size - first) / thickness + 0.5)) - 1, 0)
    means, centres = [], []
    for k in range(last + 1):
        low, high = (min(max(first + (k + side) * thickness, 0), size) for side in (0, 1))
        breaks = [b for b in range(size) if low < b < high]
        value = lambda x: line[min(int(x), size - 1)]  # noqa: E731
        means.append(quad(value, low, high, points=breaks, limit=200)[0] / (high - low))
        centres.append(first + (k + 0.5) * thickness)
    return np.interp(np.arange(size) + 0.5, centres, means)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_equal_integrals(axis: int) -> None:
    rng = np.random.default_rng(axis)
    lines = rng.uniform(size=(6, 23))
    thickness = np.array([1.5, 2.0, 3.7, 6.25, 11.0, 1.01])
    start = rng.uniform(-0.5, 0.5, 6)
    shape = [6, 1, 2, 2, 2]
    shape[axis + 2] = 23
    view = [6, 1, 1, 1, 1]
    view[axis + 2] = 23
    image = torch.tensor(lines, dtype=torch.float32).view(view).expand(shape).contiguous()
    widths, starts = torch.ones(6, 3), torch.zeros(6, 3)
    widths[:, axis], starts[:, axis] = torch.tensor(thickness), torch.tensor(start)
    out = thick_slices(image, widths, starts).movedim(axis + 2, 4)
    for n in range(6):
        expected = reference(lines[n], thickness[n], start[n])
        np.testing.assert_allclose(out[n, 0, 0, 0], expected, atol=1e-4)
        np.testing.assert_allclose(out[n, 0, 1, 1], expected, atol=1e-4)


def test_thickness_1_leaves_the_input_bit_identical() -> None:
    image = torch.rand(3, 1, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(thick_slices(image, torch.ones(3, 3), torch.full((3, 3), 0.3)), image)


def test_a_slope_survives() -> None:
    ramp = torch.arange(40.0)[:, None, None].expand(1, 1, 40, 4, 4).contiguous()
    out = thick_slices(ramp, torch.tensor([[4.0, 1.0, 1.0]]), torch.zeros(1, 3))
    torch.testing.assert_close(out[..., 2:-2, :, :], ramp[..., 2:-2, :, :], atol=1e-3, rtol=0)


@pytest.mark.parametrize("implementation", ["native", "torch"])
@pytest.mark.parametrize("thickness", [1.5, 8.0, 16.0, 17.0, 24.0, 64.0])
def test_a_constant_stays_constant_however_thick_the_slices_are(
    implementation: Implementation, thickness: float
) -> None:
    starts = torch.linspace(-0.4999, 0.4999, 41)[:, None].expand(-1, 3).contiguous()
    image = torch.full((41, 1, 8, 8, 8), 0.7)
    with forced(implementation):
        out = thick_slices(image, torch.full((41, 3), thickness), starts)
    torch.testing.assert_close(out, image, rtol=0, atol=1e-6)
