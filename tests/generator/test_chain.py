"""The chain's names and order, the finish, and the original's configuration."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from monai.transforms import ScaleIntensity
from omegaconf import DictConfig

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.chain import Chain, Finish, with_chance
from anystar_torch.generator.effects.adapter import Monai
from anystar_torch.generator.effects.gamma import RandomContrast
from anystar_torch.generator.effects.noise import RandomGaussianNoise
from anystar_torch.generator.effects.rescale import rescale
from anystar_torch.random.source import Source

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "augment"
IDS = torch.arange(6)


@dataclass(frozen=True)
class Recorder:
    """Adds the first draw of its stream, so that the draws an effect gets can be read from the image."""

    def __call__(self, image: torch.Tensor, source: Source) -> torch.Tensor:
        return image + source.uniform("x", 0.0, 1.0)[:, None, None, None, None]


def test_other_effects_do_not_change_an_effects_draws() -> None:
    source, image = Source.of(IDS, seed=0, split="test"), torch.zeros(6, 1, 2, 2, 2)
    alone = Chain(effects={"a": Recorder()})(image, source)
    both = Chain(effects={"b": Recorder(), "a": Recorder()})(image, source)
    other = Chain(effects={"b": Recorder()})(image, source)
    torch.testing.assert_close(both, alone + other)
    assert not torch.equal(alone, other)


def test_effects_run_in_the_order_written() -> None:
    noise, contrast = (
        RandomGaussianNoise(p=1.0, std=(0.1, 0.1)),
        RandomContrast(p=1.0, gamma=(2.0, 3.0), headroom=(0.0, 1.0)),
    )
    source = Source.of(IDS, seed=0, split="test")
    image = torch.rand(6, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    out = Chain(effects={"noise": noise, "contrast": contrast})(image, source)
    assert torch.equal(out, contrast(noise(image, source("noise")), source("contrast")))


def test_rescale_equals_monai_and_turns_constants_to_zero() -> None:
    image = torch.rand(3, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0)) * 9.0 - 4.0
    image[2] = 3.25
    out = rescale(image)
    for n in range(3):
        expected = torch.as_tensor(ScaleIntensity()(image[n]))
        torch.testing.assert_close(out[n], expected, atol=1e-5, rtol=0)
    assert not out[2].any()


def config(name: str) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_configuration_makes_finished_samples(name: str) -> None:
    effects, finish = instantiate(config(name).effects), instantiate(config(name).finish)
    assert isinstance(effects, Chain)
    assert isinstance(finish, Finish)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(6, 1, 20, 24, 28, generator=generator)
    labels = torch.randint(0, 5, image.shape, generator=generator, dtype=torch.int32)
    source = Source.of(IDS, seed=0, split="test")
    out, cut = finish(effects(image, source), labels, source)
    assert out.isfinite().all()
    assert out.amin() >= 0.0
    assert out.amax() <= 1.0
    assert ((cut == labels) | (cut == 0)).all()
    alone, alone_cut = finish(
        effects(image[4:5], s := Source.of(IDS[4:5], seed=0, split="test")), labels[4:5], s
    )
    assert torch.equal(alone, out[4:5])
    assert torch.equal(alone_cut, cut[4:5])


@dataclass(frozen=True)
class Gaussian:
    """Blurs with the same width along all axes."""

    width: float

    def __call__(self, image: torch.Tensor, source: Source) -> torch.Tensor:
        return image

    def blur_width(self, source: Source) -> torch.Tensor:
        return torch.full((len(source.root), 3), self.width)


def test_the_widths_of_blurs_add_up_as_variances() -> None:
    chain = Chain(
        effects={"a": Gaussian(3.0), "noise": RandomGaussianNoise(p=1.0, std=(0.1, 0.1)), "b": Gaussian(4.0)}
    )
    assert torch.equal(chain.blur_width(Source.of(IDS, seed=0, split="test")), torch.full((6, 3), 5.0))


@pytest.mark.long
def test_outlines_are_refused_behind_an_effect_that_does_not_report_its_blur() -> None:
    def with_own(name: str, blurs: bool) -> None:
        synth = load_synthesizer(name)
        effects = {**synth.effects.effects, "own": Monai(transform=torch.abs, blurs=blurs)}
        replace(synth, effects=replace(synth.effects, effects=effects))

    with pytest.raises(ValueError, match=r"own \(Monai\).*scene\.outline\.widths"):
        with_own("zero_shot", True)
    with_own("zero_shot", False)
    with_own("mix", True)


@pytest.mark.long
@pytest.mark.parametrize(
    "override",
    ["out_of_focus.share=[0.0,0.9]", "gibbs_ringing.alpha=[0.0,0.8]", "sharpening.strength=[0.0,30.0]"],
)
def test_ranges_that_move_outlines_are_refused_where_outlines_are_placed(override: str) -> None:
    with pytest.raises(ValueError, match=override.split(".")[0]):
        load_synthesizer("zero_shot", overrides=[f"effects.effects.{override}"])


def test_the_originals_order() -> None:
    order = (
        "bias_field gaussian_noise kspace_spike contrast smoothing rician_noise gibbs_ringing sharpening"
        " histogram_shift"
    )
    on = [name for name, effect in config("anystar").effects.effects.items() if effect.get("p", 1.0) > 0]
    assert on == order.split()


@pytest.mark.long
def test_zero_shot_puts_the_instrument_behind_the_bias_field() -> None:
    ours, theirs = list(config("zero_shot").effects.effects), list(config("anystar").effects.effects)
    instrument = ["attenuation", "out_of_focus", "microscope", "inversion"]
    assert ours == [*theirs[:1], *instrument, *theirs[1:]]


def test_an_effect_may_draw_from_a_stream_of_another_name() -> None:
    source, image = Source.of(IDS, seed=0, split="test"), torch.zeros(6, 1, 2, 2, 2)
    renamed = Chain(effects={"new": Recorder()}, streams={"new": "old"})
    assert torch.equal(renamed(image, source), Chain(effects={"old": Recorder()})(image, source))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_effects_that_are_off_leave_the_bits(name: str) -> None:
    chosen = config(name)
    for effect in chosen.effects.effects.values():
        if "p" in effect:
            effect.p = 0.0
    del chosen.effects.effects.bias_field
    image = torch.rand(6, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(instantiate(chosen.effects)(image, Source.of(IDS, seed=0, split="test")), image)


def test_an_effect_that_says_nothing_of_its_blur_may_blur() -> None:
    """It has neither a width nor the attribute ``blurs``."""
    source = Source.of(IDS, seed=0, split="test")
    with pytest.raises(ValueError, match=r"may blur and do not report a width: own \(Recorder\)"):
        Chain(effects={"a": Gaussian(3.0), "own": Recorder()}).blur_width(source)


def test_the_finish_rescales_then_cuts_then_adds_noise() -> None:
    """Holes are zeros of the rescaled image, to which the noise adds its draw."""
    source = Source.of(IDS, seed=0, split="test")
    image = torch.rand(6, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 7.0 - 2.0
    labels = torch.ones(6, 1, 4, 4, 4, dtype=torch.int32)

    def cut(image: torch.Tensor, labels: torch.Tensor, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        left = torch.arange(4).view(1, 1, 1, 1, 4) > 0
        return image * left, labels * left

    noise = Chain(effects={"detector": Recorder()})
    out, kept = Finish(rescale=lambda x, s: rescale(x), dropout=cut, noise=noise)(image, labels, source)
    drawn = source("detector").uniform("x", 0.0, 1.0)[:, None, None, None, None]
    torch.testing.assert_close((out - drawn)[..., 0], torch.zeros(6, 1, 4, 4))
    torch.testing.assert_close((out - drawn)[..., 1:], rescale(image)[..., 1:])
    assert kept.sum() == 6 * 4 * 4 * 3


def test_samples_that_an_effect_leaves_out_do_not_change_the_draws_of_others() -> None:
    ids = torch.arange(20)
    source, image = Source.of(ids, seed=0, split="test"), torch.zeros(20, 1, 2, 2, 2)
    chosen = source.coin("applied", 0.5)
    assert 3 < chosen.sum() < 17
    found = with_chance(0.5, Recorder(), image, source)
    expected = torch.where(chosen[:, None, None, None, None], Recorder()(image, source), image)
    assert torch.equal(found, expected)
