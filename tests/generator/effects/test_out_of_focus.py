"""Out-of-focus light beside scipy's Gaussian filter, and what it does to light."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.generator.effects.out_of_focus import RandomOutOfFocus, out_of_focus
from anystar_torch.random.source import Source


@pytest.mark.parametrize("width", [(4.0, 4.0, 4.0), (4.0, 9.0, 5.0), (12.0, 6.0, 12.0)])
@pytest.mark.parametrize("shape", [(48, 52, 40), (45, 50, 43)])
def test_equals_a_sharp_and_a_wide_gaussian(shape: tuple[int, int, int], width: tuple[float, ...]) -> None:
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    image = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 0, 2, 2, 2), mode="nearest"))
    image[..., 20:30, 20:30, 20:30] += 1.0
    out = out_of_focus(image, torch.tensor([0.4]), torch.tensor([width]), taps=13)[0, 0].numpy()
    wide = ndimage.gaussian_filter(
        image[0, 0].numpy().astype(np.float64), width, mode="nearest", truncate=4.0
    )
    expected = 0.6 * image[0, 0].numpy() + 0.4 * wide
    assert abs(out - expected).max() < 0.02 * (image.max() - image.min()).item()


def test_light_is_spread_not_made() -> None:
    point = torch.zeros(2, 1, 64, 64, 64)
    point[..., 30:34, 30:34, 30:34] = 1.0
    out = out_of_focus(point, torch.tensor([0.5, 0.0]), torch.full((2, 3), 5.0), taps=5)
    assert out[0].sum().item() == pytest.approx(64.0, rel=1e-3)
    assert out[0, 0, 32, 32, 32].item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(out[1], point[1])


def test_each_axis_is_the_longest_as_often() -> None:
    point = torch.zeros(60, 1, 64, 64, 64)
    point[..., 30:34, 30:34, 30:34] = 1.0
    effect = RandomOutOfFocus(p=1.0, share=(1.0, 1.0), width=(4.0, 4.0), elongation=(2.0, 2.0))
    out = effect(point, Source.of(torch.arange(60), seed=0, split="test"))[:, 0]
    position = torch.arange(64.0) - 31.5
    spread = torch.stack([(out.sum(axes) * position**2).sum(1) for axes in ((2, 3), (1, 3), (1, 2))], 1)
    deviation = (spread / 64.0).sqrt().sort(dim=1).values.mean(0)
    np.testing.assert_allclose(deviation, [4.2, 4.2, 8.1], atol=0.35)  # with the cube's own width
    assert spread.argmax(1).bincount(minlength=3).min() > 8
