"""Labels and grids of wrong shapes are refused by name, before a kernel sees them."""

import pytest
import torch

from anystar_torch.geometry.checks import check_labels, checked_grid


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 4), (1, 1, 4, 4), (4, 4, 4), (1, 1, 4, 4, 4, 4)])
def test_labels_are_a_batch_of_one_channel(shape):
    with pytest.raises(ValueError, match=r"labels must be \[B, 1, D, H, W\], got"):
        check_labels(torch.zeros(shape, dtype=torch.int32))
    check_labels(torch.zeros(0, 1, 4, 1, 1, dtype=torch.int32))


@pytest.mark.parametrize("grid", [(1.5, 1, 1), (2.0, 1, 1), (1, 0, 1), (1, 2), (1, 1, 1, 1)])
def test_a_grid_is_three_positive_whole_numbers(grid):
    unchecked = getattr(checked_grid, "__wrapped__", checked_grid)  # users have no checks of types
    with pytest.raises(ValueError, match="grid must be three positive integers"):
        unchecked(grid)
    assert checked_grid([4, 1, 2]) == (4, 1, 2)
