"""The response curve against numpy's interpolation and MONAI's draws."""

import numpy as np
import pytest
import torch
from monai.transforms import RandHistogramShift

from anystar_torch.generator.effects.histogram import RandomHistogramShift, histogram_shift
from anystar_torch.random.source import Source


def test_equals_numpy_interpolation_sample_by_sample() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(-2, 5, (4, 1, 7, 8, 9)).astype(np.float32)
    response = np.sort(rng.uniform(size=(4, 10)), axis=1).astype(np.float32)
    out = histogram_shift(torch.tensor(image), torch.tensor(response))
    for n in range(4):
        low, span = image[n].min(), np.ptp(image[n])
        expected = low + span * np.interp((image[n] - low) / span, np.linspace(0, 1, 10), response[n])
        np.testing.assert_allclose(out[n], expected, atol=1e-4)


def test_equals_monai_for_its_curve() -> None:
    monai = RandHistogramShift(num_control_points=10, prob=1.0).set_random_state(4)
    image = torch.rand(1, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    expected = torch.as_tensor(monai(image))
    response = torch.tensor(monai.floating_control_points, dtype=torch.float32)[None]
    torch.testing.assert_close(histogram_shift(image[None], response)[0], expected, atol=1e-4, rtol=0)


def test_curves_are_distributed_as_monais() -> None:
    curves = RandomHistogramShift(p=1.0, points=10).response(
        Source.of(torch.arange(4000), seed=0, split="test")
    )
    monai = RandHistogramShift(num_control_points=10, prob=1.0).set_random_state(0)
    theirs = []
    for _ in range(4000):
        monai.randomize()
        theirs.append(monai.floating_control_points)
    expected = torch.tensor(np.array(theirs), dtype=torch.float32)
    torch.testing.assert_close(curves.mean(0), expected.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(curves.std(0), expected.std(0), atol=0.006, rtol=0)
    assert (curves.diff(dim=1) >= 0).all()


def test_even_steps_change_nothing() -> None:
    image = torch.rand(2, 1, 5, 5, 5, generator=torch.Generator().manual_seed(0)) * 7 - 3
    assert torch.equal(histogram_shift(image, torch.linspace(0, 1, 10).expand(2, 10)), image)


@pytest.mark.parametrize("points", [2, 257])
def test_refuses_a_curve_without_inner_points(points: int) -> None:
    with pytest.raises(ValueError, match="points must be"):
        RandomHistogramShift(p=0.5, points=points)
