"""The volume that a user gives, and parts of it."""

import numpy as np
import pytest
import torch

from anystar_torch.inference.input_volume import InputVolume, checked_array
from anystar_torch.inference.intensity_range import IntensityRange


def test_a_part_knows_how_far_the_image_goes_on():
    whole = InputVolume(
        np.arange(4 * 5 * 6).reshape(4, 5, 6), (1.0, 1.0, 1.0), IntensityRange(0.0, 1.0, False)
    )
    part = whole.part((slice(1, 4), slice(0, 2), slice(2, 5)))
    assert part.beyond == ((1, 0, 2), (0, 3, 1))
    assert (part.voxels == whole.voxels[1:4, :2, 2:5]).all()
    assert whole.beyond == ((0, 0, 0), (0, 0, 0))


def test_a_tensor_whose_negative_is_not_yet_computed_has_its_values():
    values = torch.arange(8.0).reshape(2, 2, 2)
    lazy = torch.complex(values, -values).conj().imag
    assert lazy.is_neg()
    assert (checked_array(lazy) == values.numpy()).all()


def test_a_tensor_without_values_is_refused():
    with pytest.raises(TypeError, match="got a tensor of the device meta"):
        checked_array(torch.empty(2, 2, 2, device="meta"))
