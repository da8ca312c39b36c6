"""Scenes that a generator cannot compute are refused when it is made."""

import pytest
import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.shapes import MIRROR_IMAGES
from anystar_torch.kernels.coordinates import REFLECT
from anystar_torch.random.source import Source


@pytest.mark.long
def test_more_objects_than_int32_can_number_are_refused() -> None:
    small = ["scene.objects.mean_radius=[2.0,2.0]"]
    with pytest.raises(ValueError, match=r"mean_radius.*shape") as error:
        load_synthesizer("mix", shape=(96, 96, 96), overrides=small)
    assert "\n" not in str(error.value)
    synth = load_synthesizer("mix", shape=(64, 96, 96), overrides=small)
    count = synth.scene.objects.count(synth.placement.scene_shape(synth.shape))
    assert count == 32 * 48 * 48
    assert synth(torch.arange(1)).labels.max() > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["mix", "zero_shot"])
def test_what_is_checked_is_the_largest_number_of_an_object(name: str) -> None:
    synth = load_synthesizer(name, shape=(16, 20, 24))
    scene_shape = synth.placement.scene_shape(synth.shape)
    source = Source.of(torch.arange(2), seed=0, split="test")
    coordinates = synth.placement(synth.shape, source("placement"))
    placed = synth.scene.density(coordinates, scene_shape, source("density"))
    assert 27 ** sum(step.limit == REFLECT for step in placed.steps) == MIRROR_IMAGES
    field = synth.scene.objects(placed.position, scene_shape, source("objects"))
    assert field.count == synth.scene.objects.count(scene_shape)


@pytest.mark.long
def test_a_texture_of_one_node_is_refused() -> None:
    tiny = ["placement.least=32", "placement.times=1"]
    with pytest.raises(ValueError, match=r"texture\.scales"):
        load_synthesizer("mix", shape=(16, 16, 16), overrides=[*tiny, "scene.mixture.texture.scales=[32]"])
    finer = [*tiny, "scene.mixture.texture.scales=[16,32]"]
    image = load_synthesizer("mix", shape=(16, 16, 16), overrides=finer)(torch.arange(4)).image
    assert image.isfinite().all()
