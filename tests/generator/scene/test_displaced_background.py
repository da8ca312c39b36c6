"""Displaced background: where an object emits, where its background ends, and that labels do not depend on it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.arrays import Sample
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.displaced_background import RandomDisplacedBackground
from anystar_torch.generator.scene.intensities import SceneLimits
from anystar_torch.generator.scene.outline import Outline
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.random.source import Source

IDS = torch.arange(8)
SHAPE = (40, 40, 40)


def displacing(p: float, rim: float = 2.0, **mixture: object) -> Synthesizer:
    synth = load_synthesizer("zero_shot", shape=SHAPE)
    mixed = replace(synth.scene.mixture, **mixture)  # type: ignore[arg-type]
    displaced = RandomDisplacedBackground(p=p, rim=(rim, rim))
    return replace(synth, scene=replace(synth.scene, mixture=mixed, displaced_background=displaced))


def changed(one: Sample, other: Sample) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(one.image, other.image, strict=True)]


@pytest.mark.long
def test_labels_and_all_other_samples_stay_the_same() -> None:
    never, some, always = displacing(0.0), displacing(0.5), displacing(1.0)
    without, half, all_of_them = never(IDS), some(IDS), always(IDS)
    assert torch.equal(without.labels, half.labels)
    assert torch.equal(without.labels, all_of_them.labels)
    source = Source.of(IDS, seed=0, split="train")
    assert changed(without, half) == (some.scene.draw(source).rim > 0.0).tolist()
    assert changed(without, all_of_them) == (always.scene.draw(source).rim > 0.0).tolist()
    assert 0 < sum(changed(without, half)) < sum(changed(without, all_of_them)) < len(IDS)


@pytest.mark.long
def test_a_plain_background_is_never_displaced() -> None:
    background = replace(displacing(0.0).scene.mixture.background, plain=1.0, rand=0.0, perlin=0.0)
    without, always = displacing(0.0, background=background), displacing(1.0, background=background)
    assert not any(changed(without(IDS), always(IDS)))


@pytest.mark.long
def test_emitting_voxels_end_a_rim_inside_of_the_outline() -> None:
    """Against scipy's distance to the outline, with outlines that do not depend on the blur."""
    rim = 2.0
    synth = displacing(1.0, rim)
    scene = replace(synth.scene, outline=Outline(widths=(0.0, 0.0), defocus=0.0))
    source = Source.of(IDS, seed=0, split="train")
    coordinates, drawn = synth.placement(SHAPE, source("placement")), scene.draw(source)
    located = scene.locate(coordinates, synth.placement.scene_shape(SHAPE), source)
    inside = (located.numbers[:, 0] > 0) & (drawn.rim > 0.0)[:, None, None, None]
    depth = np.stack([ndimage.distance_transform_edt(sample) for sample in inside.numpy()]) - 0.5
    emits = scene.emitting(located, None, drawn)[:, 0].numpy()
    assert emits[depth > 2.0 * rim].mean() > 0.97
    assert emits[inside.numpy() & (depth < 0.5 * rim)].mean() < 0.1


@pytest.mark.long
@pytest.mark.parametrize("left", [0.0, 0.4])
def test_a_displaced_background_keeps_its_share_of_the_intensity(left: float) -> None:
    background = replace(
        displacing(0.0).scene.mixture.background, plain=0.0, rand=1.0, perlin=0.0, std=(0.0, 0.0)
    )
    mixture = replace(
        displacing(0.0).scene.mixture,
        background=background,
        displaced_intensity=(left, left),
        background_texture=(0.0, 0.0),
        limits=SceneLimits(darkest=(0.0, 0.0), brightest=(1.0, 1.0)),
    )
    synth, source = displacing(0.0), Source.of(IDS, seed=0, split="train")
    coordinates = synth.placement(SHAPE, source("placement"))
    displaced = torch.zeros(len(IDS), 1, *SHAPE, dtype=torch.bool)
    displaced[:, :, 8:24, 8:24, 8:24] = True
    nothing, shape = torch.zeros_like(displaced, dtype=torch.int32), synth.placement.scene_shape(SHAPE)
    image = mixture(nothing, displaced, coordinates, shape, mixture.draw(source), source)
    within, beside = image[:, 0, 11:21, 11:21, 11:21], image[:, 0, 30:, 30:, 30:]
    assert within.mean((1, 2, 3)).numpy() == pytest.approx(
        left * beside.mean((1, 2, 3)).numpy(), rel=1e-3, abs=1e-3
    )


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError, match="p must"):
        RandomDisplacedBackground(p=1.5, rim=(0.0, 1.0))
    with pytest.raises(ValueError, match="rim"):
        RandomDisplacedBackground(p=0.5, rim=(2.0, 1.0))
