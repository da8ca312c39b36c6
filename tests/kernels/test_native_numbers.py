"""Native kernels of the generator with numbers at the limits of their types."""

import numpy as np
import pytest
import torch

from anystar_torch.kernels import _native, intensities
from anystar_torch.kernels.coordinates import REFLECT, STEP_WIDTH, evaluate
from anystar_torch.kernels.implementations import forced

MOST = 2**63 - 1


@pytest.mark.long
@pytest.mark.parametrize("implementation", ["native", "torch"])
def test_quantiles_of_more_values_than_float32_counts(implementation, monkeypatch):
    """The last of 2^24 + 4 places is 2^24 + 3, and the float32 nearest to it is a place beyond the end."""
    monkeypatch.setattr(intensities, "QUANTILE_STRIDE", 1)
    image = torch.full((2**24 + 4,), 0.5)
    assert float(torch.tensor(2**24 + 3, dtype=torch.float32)) == len(image)
    image[:5] = 0.0
    image[7] = 1.0
    zero = torch.zeros(1)
    with forced(implementation):
        limits = intensities.lattice_quantiles(image.view(1, 1, 4, 5, -1), zero, zero)
    assert limits.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("step", [0, -1, 2**40 + 1, MOST])
def test_steps_that_would_overflow_are_refused(step):
    image, numbers, limits = (np.zeros(shape, np.float32) for shape in ((1, 2, 2, 2), 1, (1, 2)))
    with pytest.raises(ValueError, match=r"step must lie in 1..2\^40"):
        _native.lattice_quantiles(image, step, numbers, numbers, limits, 1)


@pytest.mark.parametrize(("corner", "size"), [(MOST, 1), (-MOST - 1, -1), (0, MOST), (2**62, 2**62)])
def test_holes_that_would_overflow_are_refused(corner, size):
    field = np.ones((1, 2, 2, 2), np.float32)
    with pytest.raises(ValueError, match=r"corner and size must lie within 2\^62"):
        _native.cut_holes(field, np.full((1, 1, 3), corner), np.array([size]), 1)
    assert field.all()


def test_large_holes_far_away_reach_into_the_volume():
    field = np.ones((1, 2, 3, 4), np.float32)
    _native.cut_holes(field, np.full((1, 1, 3), -(2**61)), np.array([2**61 + 1]), 1)
    assert np.argwhere(field == 0).tolist() == [[0, 0, 0, 0]]


def test_levels_are_not_converted():
    out = np.zeros((1, 2, 2, 2), np.float32)
    for level in (np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 4), np.float32)[..., ::2]):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _native.resampled_sum([level], out, 1)


def test_pieces_of_many_reflections_wrap_as_in_torch():
    """27 numbers for each reflection: seven exceed int32."""
    steps = torch.zeros(2, 9, STEP_WIDTH)
    steps[..., [0, 4, 8]] = 1.0
    steps[..., 12:15] = torch.tensor([1.5, -2.0, 0.5])
    steps[..., 15:18] = 2.5
    limits = [REFLECT] * 9
    with forced("torch"):
        wanted = evaluate((3, 4, 5), None, steps.flatten(1), limits)
    with forced("native"):
        found = evaluate((3, 4, 5), None, steps.flatten(1), limits)
    assert len(wanted.piece.unique()) > 4
    assert torch.equal(found.piece, wanted.piece)
