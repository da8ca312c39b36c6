"""Blur against MONAI's erf kernels, and against the width it names."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.transforms import GaussianSmooth
from scipy.ndimage import gaussian_filter

from anystar_torch.generator.effects.blur import RandomBlur, gaussian_blur, taps_of
from anystar_torch.kernels.filters import gaussian_kernels


@pytest.mark.parametrize("widest", [0.333, 0.6, 1.0, 2.5])
def test_equals_monai_sample_by_sample(widest: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(5, 1, 11, 12, 13, generator=generator)
    sigma = torch.rand(5, 3, generator=generator) * widest + 0.01
    out = gaussian_blur(image, sigma, taps=taps_of(widest + 0.01))
    for n in range(5):
        continued = F.pad(image[n : n + 1], (12,) * 6, mode="replicate")[0]  # MONAI's is 0 beyond the faces
        expected = torch.as_tensor(GaussianSmooth(sigma=sigma[n].tolist(), approx="erf")(continued))
        torch.testing.assert_close(out[n], expected[:, 12:-12, 12:-12, 12:-12], atol=1e-4, rtol=0)


def test_kernel_has_the_width_it_names_and_keeps_the_mean() -> None:
    sigma = torch.tensor([[0.7, 1.3, 2.0]])
    side = gaussian_kernels(sigma, 8)[0]
    kernel = torch.cat([side[:, 1:].flip(1), side], dim=1)
    position = torch.arange(-8.0, 9.0)
    torch.testing.assert_close(kernel.sum(1), torch.ones(3), atol=1e-4, rtol=0)
    # A voxel's own width of 1/12 adds to the variance; the tails beyond 4 sigma are missing.
    torch.testing.assert_close((kernel * position**2).sum(1), sigma[0] ** 2 + 1 / 12, atol=6e-3, rtol=0)


def test_is_scipys_gaussian() -> None:
    image = torch.rand(1, 1, 30, 24, 24, generator=torch.Generator().manual_seed(0))
    out = gaussian_blur(image, torch.tensor([[2.5, 1.2, 1.2]]), taps=10)
    widths = np.sqrt(
        np.array([2.5, 1.2, 1.2]) ** 2 + 1 / 12
    )  # scipy samples where ours integrates over voxels
    expected = gaussian_filter(image[0, 0].numpy(), widths, truncate=5, mode="nearest")
    np.testing.assert_allclose(out[0, 0], expected, atol=1e-3)


def test_axes_are_blurred_by_their_own_width() -> None:
    point = torch.zeros(1, 1, 15, 15, 15)
    point[..., 7, 7, 7] = 1.0
    out = gaussian_blur(point, torch.tensor([[2.0, 0.0, 0.0]]), taps=8)
    assert torch.count_nonzero(out[0, 0, :, 7, 7]) == 15
    assert torch.count_nonzero(out) == 15


@pytest.mark.parametrize(("p", "sigma"), [(1.5, (0.0, 1.0)), (-0.1, (0.0, 1.0)), (0.5, (-1.0, 1.0))])
def test_refuses_nonsense(p: float, sigma: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RandomBlur(p=p, sigma=sigma)
