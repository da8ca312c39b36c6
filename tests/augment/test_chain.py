"""The chain's names and order, the finish, and the original's configuration."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from monai.transforms import ScaleIntensity
from omegaconf import OmegaConf

from anystar_torch.augment.chain import Chain, Finish
from anystar_torch.augment.gamma import RandomContrast
from anystar_torch.augment.noise import RandomGaussianNoise
from anystar_torch.augment.rescale import rescale
from anystar_torch.random import Source

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
    noise, contrast = RandomGaussianNoise(p=1.0, std=(0.1, 0.1)), RandomContrast(p=1.0, gamma=(2.0, 3.0))
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


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_configuration_makes_finished_samples(name: str) -> None:
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    effects, finish = instantiate(config.effects), instantiate(config.finish)
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
