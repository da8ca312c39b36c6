"""Calls of the effects that have kernels of their own, for comparisons of their implementations."""

from collections.abc import Callable

import torch
from torch import Tensor

from anystar_torch.generator.effects.bias_field import bias_field
from anystar_torch.generator.effects.blur import gaussian_blur
from anystar_torch.generator.effects.camera import camera
from anystar_torch.generator.effects.dropout import coarse_dropout
from anystar_torch.generator.effects.exposure import exposure
from anystar_torch.generator.effects.gamma import adjust_contrast
from anystar_torch.generator.effects.gibbs import gibbs_ringing
from anystar_torch.generator.effects.histogram import histogram_shift
from anystar_torch.generator.effects.kspace_spike import kspace_spike
from anystar_torch.generator.effects.noise import detector_noise, rician_noise
from anystar_torch.generator.effects.rescale import rescale
from anystar_torch.kernels.filters import smooth, smooth_noise, thick_slices
from anystar_torch.kernels.intensities import to_unit

SHAPES = [(1, 1, 1), (2, 1, 3), (1, 70, 1), (5, 9, 33), (17, 2, 13), (8, 8, 8)]
BATCH = 3


class Draws:
    """Random numbers of a case, the same for every implementation; the first sample has identity values."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int, first: float | None = None) -> Tensor:
        values = torch.rand(BATCH, *shape, generator=self.generator) * (high - low) + low
        if first is not None:
            values[0] = first
        return values

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, (BATCH, *shape), generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, generator=self.generator)


Case = Callable[[Tensor, Draws], Tensor]


def _frequency(image: Tensor, d: Draws) -> Tensor:
    return torch.stack([d.whole(0, n) for n in image.shape[2:]], dim=1)


def _dropout(image: Tensor, d: Draws) -> Tensor:
    labels = d.whole(0, 9, *image.shape[1:]).to(torch.int32)
    cut, cut_labels = coarse_dropout(image, labels, d.whole(-2, 40, 31, 3), d.whole(0, 12))
    return torch.cat([cut, cut_labels.to(torch.float32)])


def _camera(image: Tensor, d: Draws) -> Tensor:
    """On rounding a count may be one more or less: a case's photons make that visible, so few values are compared."""
    shot, electronic = d.normal(2, *image.shape[1:]).unbind(1)
    photons, background = d.uniform(3.0, 400.0), d.uniform(0.0, 5.0)
    return camera(image, photons, background, d.uniform(0.0, 2.0), shot, electronic)


CASES: dict[str, Case] = {
    "gaussian_blur": lambda x, d: gaussian_blur(x, d.uniform(0.0, 2.5, 3, first=0.0), taps=8),
    "gaussian_blur, cut": lambda x, d: gaussian_blur(x, d.uniform(0.0, 9.0, 3, first=1e-8), taps=3),
    "smooth": lambda x, d: smooth(
        torch.cat([x, -x], 1), d.uniform(0.0, 0.5, 2, first=0.0)[..., None, None, None]
    ),
    "smooth_noise": lambda x, d: smooth_noise(x, d.uniform(0.0, 1.0, 3, *x.shape[2:])),
    "thick_slices": lambda x, d: thick_slices(
        x, d.uniform(1.0, 6.0, 3, first=1.0), d.uniform(-0.49, 0.49, 3)
    ),
    "thick_slices, thicker than the volume": lambda x, d: thick_slices(
        x, d.uniform(9.0, 90.0, 3), d.uniform(-0.49, 0.49, 3)
    ),
    "bias_field": lambda x, d: bias_field(x, d.uniform(-0.3, 0.3, 20, first=0.0), d.uniform(-1.0, 1.0, 3)),
    "contrast": lambda x, d: adjust_contrast(x, d.uniform(0.3, 4.5, first=1.0), d.uniform(0.0, 1.0)),
    "histogram_shift": lambda x, d: histogram_shift(x, d.uniform(0.0, 1.0, 10).sort(1).values),
    "rescale": lambda x, d: rescale(x),
    "to_unit": lambda x, d: to_unit(x, d.uniform(-1.0, 1.0, 2)),
    "exposure": lambda x, d: exposure(x, d.uniform(0.0, 0.3), d.uniform(0.0, 0.3, first=0.0)),
    "dropout": _dropout,
    "camera": _camera,
    "rician_noise": lambda x, d: rician_noise(
        x, d.uniform(0.0, 1.0, first=0.0), *d.normal(2, *x.shape[1:]).unbind(1)
    ),
    "detector_noise": lambda x, d: detector_noise(
        x, *(d.uniform(0.0, 0.2, first=0.0) for _ in range(3)), d.normal(*x.shape[1:])
    ),
    "kspace_spike": lambda x, d: kspace_spike(x, _frequency(x, d), d.uniform(2.3, 2.8)),
    "gibbs_ringing": lambda x, d: gibbs_ringing(x, d.uniform(0.0, 0.6, first=0.0), d.uniform(1.0, 2.0, 3)),
}


def image_of(shape: tuple[int, int, int]) -> Tensor:
    """Values of either sign; the last sample is constant, the middle one has a spike."""
    image = torch.rand(BATCH, 1, *shape, generator=torch.Generator().manual_seed(9)) * 2.0 - 0.5
    image[1].view(-1)[0] = 100.0
    image[2] = 0.7
    return image


def compare(name: str, found: Tensor, expected: Tensor) -> None:
    """To rounding; of photon counts, which are whole, all but a few."""
    assert found.shape == expected.shape
    if name == "camera":
        close = torch.isclose(found, expected, rtol=1e-4, atol=1e-4)
        assert (~close).sum() <= 1 + 1e-3 * close.numel()
        return
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=3e-6 * scale)
