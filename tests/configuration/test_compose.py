"""Names, overrides and nonsense."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anystar_torch.configuration.compose import load_synthesizer, synthesizer_names
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.generator.synthesizer import Synthesizer


@pytest.mark.long
def test_every_synthesizer_of_the_configuration_instantiates() -> None:
    assert {"mix", "plain", "rand", "perlin"} <= set(synthesizer_names())
    for name in synthesizer_names():
        synth = load_synthesizer(name, shape=(16, 24, 32), seed=7)
        assert (synth.shape, synth.seed, synth.split) == ((16, 24, 32), 7, "train")


@pytest.mark.long
def test_training_composes_the_same_generator_with_the_same_numbers() -> None:
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", ["+experiment=mix", "synth=plain", "seed=3", "shape=[32,32,32]"])
    synth = instantiate(config.synth)
    assert isinstance(synth, Synthesizer)
    ids = torch.tensor([11])
    assert torch.equal(synth(ids).image, load_synthesizer("plain", shape=(32, 32, 32), seed=3)(ids).image)


def test_overrides_reach_their_numbers() -> None:
    synth = load_synthesizer("mix", overrides=["placement.zoom.factor=[1.0,1.0]", "scene.smallest=27"])
    assert list(synth.placement.zoom.factor) == [1.0, 1.0]
    assert synth.scene.smallest == 27


@pytest.mark.long
@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("placement.zoom.factor=[1.4,0.4]", "factor"),
        ("placement.zoom.factr=[1,1]", "factr"),
        ("placement.orient.flip=1.5", "flip must be a probability"),
        ("scene.objects.radius=[-1.0,1.0]", "radius"),
        ("scene.objects.jitter=2.0", "jitter"),
        ("scene.smallest=0", "smallest"),
        ("scene.density.factors=[0.1]", "factors"),
        ("scene.mixture.std=[-5.0,1.0]", "std"),
        ("scene.mixture.background.plain=0.9", "add up to 1"),
        ("scene.mixture.background.patches.most=0", "most"),
        ("scene.mixture.texture.scales=[0]", "scales"),
        ("placement.least=8", "least"),
        ("effects.effects.contrast.p=1.5", "p must be a probability"),
        ("placement.zoom.factor=", "factor"),
    ],
)
def test_nonsense_is_refused_in_one_line(override: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        load_synthesizer("mix", overrides=[override])
    assert "\n" not in str(error.value)


@pytest.mark.long
@pytest.mark.parametrize("shape", [(7, 64, 64), (64, 64), (0, 0, 0)])
def test_sizes_under_8_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 8 voxels"):
        load_synthesizer("mix", shape=shape)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="mix, perlin, plain, rand"):
        load_synthesizer("mixed")
