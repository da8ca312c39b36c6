"""Properties that every intensity effect must have."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anystar_torch.generator.chain import Chain, Finish, IntensityEffect, with_chance
from anystar_torch.generator.effects.attenuation import RandomAttenuation, attenuation
from anystar_torch.generator.effects.bias_field import RandomBiasField, bias_field
from anystar_torch.generator.effects.blur import RandomBlur, gaussian_blur
from anystar_torch.generator.effects.camera import RandomCamera, camera
from anystar_torch.generator.effects.dropout import RandomCoarseDropout, coarse_dropout
from anystar_torch.generator.effects.exposure import RandomExposure, exposure
from anystar_torch.generator.effects.gamma import RandomContrast, adjust_contrast
from anystar_torch.generator.effects.gibbs import RandomGibbsRinging, gibbs_ringing
from anystar_torch.generator.effects.histogram import RandomHistogramShift, histogram_shift
from anystar_torch.generator.effects.inversion import RandomInversion, invert
from anystar_torch.generator.effects.kspace_spike import RandomKSpaceSpike, kspace_spike
from anystar_torch.generator.effects.microscope import RandomMicroscope
from anystar_torch.generator.effects.noise import (
    RandomDetectorNoise,
    RandomGaussianNoise,
    RandomRicianNoise,
    detector_noise,
    gaussian_noise,
    rician_noise,
)
from anystar_torch.generator.effects.out_of_focus import RandomOutOfFocus, out_of_focus
from anystar_torch.generator.effects.rescale import Rescale, rescale
from anystar_torch.generator.effects.sharpen import RandomSharpen, sharpen
from anystar_torch.kernels.filters import thick_slices
from anystar_torch.random.source import Source
from tests.residency import Residency

SHAPE = (9, 11, 13)  # odd and unequal: shows what depends on alignment or mixes axes
IDS = torch.arange(16) * 1_000_003

ALWAYS: dict[str, IntensityEffect] = {
    "bias_field": RandomBiasField(coefficient=(0.0, 0.1), extent=(0.5, 1.0)),
    "attenuation": RandomAttenuation(p=1.0, loss=(0.5, 2.3)),
    "gaussian_noise": RandomGaussianNoise(p=1.0, std=(0.01, 0.1)),
    "kspace_spike": RandomKSpaceSpike(p=1.0, strength=(2.375, 2.75)),
    "contrast": RandomContrast(p=1.0, gamma=(0.5, 4.5), headroom=(0.0, 1.2)),
    "smoothing": RandomBlur(p=1.0, sigma=(0.0, 1.5)),
    "rician_noise": RandomRicianNoise(p=1.0, std=(0.01, 0.1)),
    "gibbs_ringing": RandomGibbsRinging(p=1.0, alpha=(0.3, 0.6), recorded=(1.0, 1.2)),
    "sharpening": RandomSharpen(p=1.0, first=(0.5, 1.0), second=0.5, strength=(10.0, 30.0)),
    "histogram_shift": RandomHistogramShift(p=1.0, points=10),
    "camera": RandomCamera(p=1.0, photons=(5.0, 5000.0), background=(0.0, 10.0), read=(0.5, 3.0)),
    "out_of_focus": RandomOutOfFocus(p=1.0, share=(0.1, 0.6), width=(4.0, 6.0), elongation=(1.0, 2.0)),
    "microscope": RandomMicroscope(
        p=1.0,
        lateral=(0.3, 1.0),
        elongation=(1.0, 2.0),
        camera=RandomCamera(p=0.5, photons=(5.0, 5000.0), background=(0.0, 10.0), read=(0.5, 3.0)),
        pixel=(1.0, 2.0),
        thickness=(1.0, 3.0),
    ),
    "exposure": RandomExposure(dark=(0.01, 0.1), bright=(0.01, 0.1)),
    "detector_noise": RandomDetectorNoise(p=1.0, std=0.1, speckle=0.1, photons=1000.0),
}
ON_EVERY_SAMPLE = ("bias_field", "exposure")
SOMETIMES: dict[str, IntensityEffect] = {
    name: replace(effect, p=0.5) for name, effect in ALWAYS.items() if name not in ON_EVERY_SAMPLE
}
DRAWLESS: dict[str, IntensityEffect] = {"rescale": Rescale(), "inversion": RandomInversion(p=1.0)}
EVERY = {**ALWAYS, **{f"{name}, sometimes": effect for name, effect in SOMETIMES.items()}, **DRAWLESS}

Pure = Callable[[Tensor, Tensor], Tensor]
"""A pure function of image and noise field, its parameters filled in."""


def zeros(image: Tensor, *shape: int) -> Tensor:
    return torch.zeros(len(image), *shape)


IDENTITY: dict[str, Pure] = {
    "bias_field": lambda x, f: bias_field(x, zeros(x, 20), torch.ones(len(x), 3)),
    "attenuation": lambda x, f: attenuation(x, zeros(x, 3)),
    "gaussian_noise": lambda x, f: gaussian_noise(x, zeros(x), f),
    "rician_noise": lambda x, f: rician_noise(x, zeros(x), f, f),
    "detector_noise": lambda x, f: detector_noise(x, zeros(x), zeros(x), zeros(x), f),
    "contrast": lambda x, f: adjust_contrast(x, torch.ones(len(x)), zeros(x) + 0.5),
    "gibbs_ringing": lambda x, f: gibbs_ringing(x, zeros(x), torch.ones(len(x), 3)),
    "sharpening": lambda x, f: sharpen(x, zeros(x, 3), zeros(x, 3), zeros(x), taps=4),
    "histogram_shift": lambda x, f: histogram_shift(x, torch.linspace(0.0, 1.0, 10).expand(len(x), 10)),
    "thick_slices": lambda x, f: thick_slices(x, torch.ones(len(x), 3), zeros(x, 3)),
    "smoothing": lambda x, f: gaussian_blur(x, zeros(x, 3), taps=4),
    "out_of_focus": lambda x, f: out_of_focus(x, zeros(x), torch.full((len(x), 3), 4.0), taps=4),
    "microscope": lambda x, f: thick_slices(
        RandomCamera(p=0.0, photons=(5.0, 5.0), background=(0.0, 0.0), read=(0.0, 0.0))(
            gaussian_blur(x, zeros(x, 3), taps=4), stream("camera")
        ),
        torch.ones(len(x), 3),
        zeros(x, 3),
    ),
}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(16, 1, *SHAPE, generator=torch.Generator().manual_seed(3))


def stream(name: str, ids: Tensor = IDS, seed: int = 0) -> Source:
    return Source.of(ids, seed=seed, split="test")(name)


@pytest.mark.long
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


@pytest.mark.parametrize("value", [0.0, -3.5, 1e6, 1e-30])
@pytest.mark.parametrize("name", [*ALWAYS, *DRAWLESS])
def test_constant_images_stay_finite(name: str, value: float) -> None:
    assert EVERY[name](torch.full((16, 1, *SHAPE), value), stream(name)).isfinite().all()


@pytest.mark.parametrize("scale", [1e-12, 1e6])
@pytest.mark.parametrize("name", [*ALWAYS, *DRAWLESS])
def test_extreme_images_stay_finite(name: str, scale: float, images: Tensor) -> None:
    spiky = torch.where(images > 0.99, 1000.0, images - 0.5) * scale
    assert EVERY[name](spiky, stream(name)).isfinite().all()


def everything() -> tuple[Chain, Finish]:
    noise = Chain(effects={"detector_noise": SOMETIMES["detector_noise"]})
    dropout = RandomCoarseDropout(p=0.5, holes=20, size=4)
    return Chain(effects=EVERY), Finish(rescale=Rescale(), dropout=dropout, noise=noise)


@pytest.mark.parametrize("name", EVERY)
def test_an_effect_stays_on_its_device(name: str) -> None:
    count = []
    for batch in (2, 16):
        image = torch.empty(batch, 1, *SHAPE, device="meta")
        with Residency("meta") as mode:
            source = Source.of(torch.arange(batch, device="meta"), seed=0, split="test")
            assert EVERY[name](image, source).shape == image.shape
        count.append(mode.count)
    assert count[0] == count[1]


@pytest.mark.long
def test_chain_and_finish_stay_on_their_device() -> None:
    count = []
    effects, finish = everything()
    for batch in (2, 16):
        image = torch.empty(batch, 1, *SHAPE, device="meta")
        labels = torch.empty(batch, 1, *SHAPE, device="meta", dtype=torch.int32)
        with Residency("meta") as mode:
            source = Source.of(torch.arange(batch, device="meta"), seed=0, split="test")
            out, cut = finish(effects(image, source), labels, source)
        assert out.shape == cut.shape == image.shape
        count.append(mode.count)
    assert count[0] == count[1]


@pytest.mark.parametrize("name", SOMETIMES)
def test_choosing_rows_equals_choosing_results(
    name: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the CPU computes for the chosen samples is what other devices keep of all."""
    rows = SOMETIMES[name](images, stream(name))
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    assert torch.equal(SOMETIMES[name](images, stream(name)), rows)


def test_chance_0_computes_nothing(images: Tensor) -> None:
    def fails(image: Tensor, source: Source) -> Tensor:
        raise AssertionError("computed")

    assert with_chance(0.0, fails, images, stream("x")) is images


def per_sample(image: Tensor, low: float, high: float) -> Tensor:
    return torch.linspace(low, high, len(image))


def per_axis(image: Tensor, low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 3 * len(image)).view(-1, 3)


def whole_numbers(image: Tensor, *shape: int) -> Tensor:
    count = torch.Size((len(image), *shape)).numel()
    return (torch.arange(count) % 7).view(len(image), *shape)


PURE: dict[str, Pure] = {
    "bias_field": lambda x, f: bias_field(x, torch.full((len(x), 20), 0.05), per_axis(x, -1.0, 1.0)),
    "attenuation": lambda x, f: attenuation(x, per_axis(x, -2.0, 2.0)),
    "gaussian_noise": lambda x, f: gaussian_noise(x, per_sample(x, 0.0, 1.0), f),
    "rician_noise": lambda x, f: rician_noise(x, per_sample(x, 0.0, 1.0), f, f),
    "detector_noise": lambda x, f: detector_noise(
        x, per_sample(x, 0.0, 0.1), per_sample(x, 0.1, 0.0), per_sample(x, 0.0, 0.1), f
    ),
    "kspace_spike": lambda x, f: kspace_spike(x, whole_numbers(x, 3), per_sample(x, 2.3, 2.8)),
    "contrast": lambda x, f: adjust_contrast(x, per_sample(x, 0.5, 4.5), per_sample(x, 0.0, 1.0)),
    "smoothing": lambda x, f: gaussian_blur(x, per_axis(x, 0.0, 1.0), taps=4),
    "gibbs_ringing": lambda x, f: gibbs_ringing(x, per_sample(x, 0.0, 0.6), per_axis(x, 1.0, 2.0)),
    "sharpening": lambda x, f: sharpen(
        x, per_axis(x, 0.5, 1.0), per_axis(x, 0.5, 0.6), per_sample(x, 1.0, 9.0), taps=4
    ),
    "histogram_shift": lambda x, f: histogram_shift(x, torch.tensor([0.0, 0.05, 0.6, 1.0]).expand(len(x), 4)),
    "thick_slices": lambda x, f: thick_slices(x, per_axis(x, 1.0, 3.0), per_axis(x, -0.4, 0.4)),
    "camera": lambda x, f: camera(
        x, per_sample(x, 5.0, 5000.0), per_sample(x, 0.0, 9.0), per_sample(x, 0.5, 2.0), f, f.flip(4)
    ),
    "out_of_focus": lambda x, f: out_of_focus(x, per_sample(x, 0.1, 0.5), per_axis(x, 4.0, 5.0), taps=5),
    "exposure": lambda x, f: exposure(x, per_sample(x, 0.0, 0.1), per_sample(x, 0.1, 0.0)),
    "inversion": lambda x, f: invert(x),
    "rescale": lambda x, f: rescale(x),
    "dropout": lambda x, f: coarse_dropout(x, x.to(torch.int32), whole_numbers(x, 9, 3), whole_numbers(x))[0],
}


def test_every_effect_has_its_pure_function_compiled() -> None:
    composed = {"microscope"}  # of the functions of thick_slices and camera
    assert set(PURE) == (set(ALWAYS) - composed) | set(DRAWLESS) | {"dropout", "thick_slices"}
    assert set(IDENTITY) == set(ALWAYS) - {"kspace_spike", "camera", "exposure"} | {"thick_slices"}, (
        "no parameter of these three means no effect"
    )


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:Torchinductor:UserWarning")
@pytest.mark.skipif("ANYSTAR_UNCHECKED" not in os.environ, reason="set ANYSTAR_UNCHECKED=1: see conftest.py")
@pytest.mark.parametrize("name", PURE)
def test_compiled_equals_eager(name: str, images: Tensor) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(PURE[name], fullgraph=True)
    image, field = images[:2], stream("field", IDS[:2]).normal("field", 1, *SHAPE)
    torch.testing.assert_close(compiled(image, field), PURE[name](image, field), rtol=1e-4, atol=1e-4)
