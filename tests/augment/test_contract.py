"""What every intensity effect must keep, whatever it does to an image."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from anystar_torch.augment.bias_field import RandomBiasField, bias_field
from anystar_torch.augment.blur import RandomBlur, gaussian_blur
from anystar_torch.augment.chain import IntensityEffect
from anystar_torch.augment.gamma import RandomContrast, adjust_contrast
from anystar_torch.augment.gibbs import RandomGibbsRinging, gibbs_ringing
from anystar_torch.augment.histogram import RandomHistogramShift, histogram_shift
from anystar_torch.augment.kspace_spike import RandomKSpaceSpike
from anystar_torch.augment.noise import (
    RandomDetectorNoise,
    RandomGaussianNoise,
    RandomRicianNoise,
    detector_noise,
    gaussian_noise,
    rician_noise,
)
from anystar_torch.augment.rescale import Rescale
from anystar_torch.augment.sharpen import RandomSharpen, sharpen
from anystar_torch.random import Source

SHAPE = (9, 11, 13)  # odd and unequal: shows what depends on alignment or mixes axes
IDS = torch.arange(16) * 1_000_003

ALWAYS: dict[str, IntensityEffect] = {
    "bias_field": RandomBiasField(coefficient=(0.0, 0.1), extent=(0.5, 1.0)),
    "gaussian_noise": RandomGaussianNoise(p=1.0, std=(0.01, 0.1)),
    "kspace_spike": RandomKSpaceSpike(p=1.0, strength=(2.375, 2.75)),
    "contrast": RandomContrast(p=1.0, gamma=(0.5, 4.5)),
    "smoothing": RandomBlur(p=1.0, sigma=(0.0, 1.5)),
    "rician_noise": RandomRicianNoise(p=1.0, std=(0.01, 0.1)),
    "gibbs_ringing": RandomGibbsRinging(p=1.0, alpha=(0.0, 0.6)),
    "sharpening": RandomSharpen(p=1.0, first=(0.5, 1.0), second=0.5, strength=(10.0, 30.0)),
    "histogram_shift": RandomHistogramShift(p=1.0, points=10),
    "detector_noise": RandomDetectorNoise(p=1.0, std=0.1, speckle=0.1, photons=1000.0),
}
SOMETIMES: dict[str, IntensityEffect] = {
    name: replace(effect, p=0.5) for name, effect in ALWAYS.items() if name != "bias_field"
}
DRAWLESS: dict[str, IntensityEffect] = {"rescale": Rescale()}
EVERY = {**ALWAYS, **{f"{name}, sometimes": effect for name, effect in SOMETIMES.items()}, **DRAWLESS}

Pure = Callable[[Tensor, Tensor], Tensor]
"""A pure function of image and noise field whose parameters are those of no effect."""


def zeros(image: Tensor, *shape: int) -> Tensor:
    return torch.zeros(len(image), *shape)


IDENTITY: dict[str, Pure] = {
    "bias_field": lambda x, f: bias_field(x, zeros(x, 20), torch.ones(len(x), 3)),
    "gaussian_noise": lambda x, f: gaussian_noise(x, zeros(x), f),
    "rician_noise": lambda x, f: rician_noise(x, zeros(x), f, f),
    "detector_noise": lambda x, f: detector_noise(x, zeros(x), zeros(x), zeros(x), f),
    "contrast": lambda x, f: adjust_contrast(x, torch.ones(len(x))),
    "gibbs_ringing": lambda x, f: gibbs_ringing(x, zeros(x)),
    "sharpening": lambda x, f: sharpen(x, zeros(x, 3), zeros(x, 3), zeros(x), taps=4),
    "histogram_shift": lambda x, f: histogram_shift(x, torch.linspace(0.0, 1.0, 10).expand(len(x), 10)),
    "smoothing": lambda x, f: gaussian_blur(x, zeros(x, 3), taps=4),
}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(16, 1, *SHAPE, generator=torch.Generator().manual_seed(3))


def stream(name: str, ids: Tensor = IDS, seed: int = 0) -> Source:
    return Source.of(ids, seed=seed, split="test")(name)


@pytest.mark.parametrize("shape", [SHAPE, (16, 16, 16)])
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_equals_each_sample_alone_bit_for_bit(name: str, shape: tuple[int, int, int]) -> None:
    images = torch.rand(16, 1, *shape, generator=torch.Generator().manual_seed(4))
    whole = EVERY[name](images, stream(name))
    for size in (1, 2, 3):
        for start in range(0, 16, 5 * size):
            part = slice(start, start + size)
            alone = EVERY[name](images[part].clone(), stream(name, IDS[part]))
            assert torch.equal(alone, whole[part]), f"samples {part} differ from those of the batch of 16"


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_parameters_leave_the_input_bit_identical(name: str, images: Tensor) -> None:
    signed = images * 3.0 - 1.0
    field = stream("field").normal("field", 1, *SHAPE)
    assert torch.equal(IDENTITY[name](signed, field), signed)


@pytest.mark.parametrize("name", ALWAYS)
def test_the_same_stream_gives_the_same_bits_and_another_does_not(name: str, images: Tensor) -> None:
    first = ALWAYS[name](images, stream(name))
    assert torch.equal(first, ALWAYS[name](images, stream(name)))
    others = [stream("another"), stream(name, seed=1), stream(name, IDS + 1)]
    for other in others:
        changed = (ALWAYS[name](images, other) != first).flatten(1).any(1)
        assert changed.float().mean() >= 0.75, "a different stream must give different samples"


@pytest.mark.parametrize("name", ALWAYS)
def test_an_effect_does_something_to_every_sample(name: str, images: Tensor) -> None:
    assert ((ALWAYS[name](images, stream(name)) - images).abs().flatten(1).amax(1) > 1e-4).all()


@pytest.mark.parametrize("name", SOMETIMES)
def test_chance_chooses_samples_and_the_rest_keep_their_bits(name: str, images: Tensor) -> None:
    out = SOMETIMES[name](images, stream(name))
    always = ALWAYS[name](images, stream(name))
    chosen = stream(name).coin("applied", 0.5)
    assert 0 < int(chosen.sum()) < 16
    expected = torch.where(chosen[:, None, None, None, None], always, images)
    torch.testing.assert_close(out[~chosen], images[~chosen], rtol=0, atol=0)
    assert torch.equal(out, expected)


@pytest.mark.parametrize("name", EVERY)
def test_shape_and_type_are_kept_and_the_input_is_not_mutated(name: str, images: Tensor) -> None:
    before = images.clone()
    out = EVERY[name](images, stream(name))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert torch.equal(images, before)


@pytest.mark.parametrize("value", [0.0, -3.5, 1.0, 1e6, -1e6, 1e-30])
@pytest.mark.parametrize("name", EVERY)
def test_constant_images_stay_finite(name: str, value: float) -> None:
    assert EVERY[name](torch.full((16, 1, *SHAPE), value), stream(name)).isfinite().all()


@pytest.mark.parametrize("scale", [1e-12, 1e6])
@pytest.mark.parametrize("name", EVERY)
def test_extreme_images_stay_finite(name: str, scale: float, images: Tensor) -> None:
    spiky = torch.where(images > 0.99, 1000.0, images - 0.5) * scale
    assert EVERY[name](spiky, stream(name)).isfinite().all()


@pytest.mark.compile
@pytest.mark.parametrize("name", EVERY)
def test_compiled_equals_eager(name: str, images: Tensor) -> None:
    effect = partial(EVERY[name])
    compiled = torch.compile(effect, fullgraph=True)
    torch.testing.assert_close(
        compiled(images, stream(name)), effect(images, stream(name)), rtol=1e-4, atol=1e-5
    )
