"""Hollows: what of an object shines, where its ground ends, and that labels know nothing of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.arrays import Sample
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.displaced_background import RandomHollow
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.random.source import Source

IDS = torch.arange(8)
SHAPE = (40, 40, 40)


def with_hollows(p: float, rim: float = 2.0, **mixture: object) -> Synthesizer:
    synth = load_synthesizer("zero_shot", shape=SHAPE)
    mixed = replace(synth.world.mixture, **mixture)  # type: ignore[arg-type]
    world = replace(synth.world, mixture=mixed, hollow=RandomHollow(p=p, rim=(rim, rim)))
    return replace(synth, world=world)


def changed(one: Sample, other: Sample) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(one.image, other.image, strict=True)]


def test_hollows_leave_labels_and_all_other_samples_as_they_were() -> None:
    never, some, always = with_hollows(0.0), with_hollows(0.5), with_hollows(1.0)
    without, half, all_of_them = never(IDS), some(IDS), always(IDS)
    assert torch.equal(without.labels, half.labels)
    assert torch.equal(without.labels, all_of_them.labels)
    source = Source.of(IDS, seed=0, split="train")
    assert changed(without, half) == (some.world.rim(source) > 0.0).tolist()
    assert changed(without, all_of_them) == (always.world.rim(source) > 0.0).tolist()
    assert 0 < sum(changed(without, half)) < sum(changed(without, all_of_them)) < len(IDS)


def test_dark_grounds_have_none() -> None:
    background = replace(with_hollows(0.0).world.mixture.background, plain=1.0, rand=0.0, perlin=0.0)
    without, always = with_hollows(0.0, background=background), with_hollows(1.0, background=background)
    assert not any(changed(without(IDS), always(IDS)))


def test_what_shines_ends_a_rim_inside_of_the_outline() -> None:
    """Against scipy's distance to the outline, which is drawn without regard to the blur."""
    rim = 2.0
    synth = with_hollows(1.0, rim)
    synth = replace(synth, world=replace(synth.world, outline=(0.0, 0.0)))
    source = Source.of(IDS, seed=0, split="train")
    objects, shining = synth.objects(synth.placement(SHAPE, source("placement")), source)
    rimmed = (synth.world.rim(source) > 0.0)[:, None, None, None]
    inside = (objects[:, 0] > 0) & rimmed
    depth = np.stack([ndimage.distance_transform_edt(sample) for sample in inside.numpy()]) - 0.5
    shines = shining[:, 0].numpy()
    assert shines[depth > 2.0 * rim].mean() > 0.97
    assert shines[inside.numpy() & (depth < 0.5 * rim)].mean() < 0.1


@pytest.mark.parametrize("left", [0.0, 0.4])
def test_hollows_keep_their_share_of_the_ground(left: float) -> None:
    background = replace(
        with_hollows(0.0).world.mixture.background, plain=0.0, rand=1.0, perlin=0.0, std=(0.0, 0.0)
    )
    synth = with_hollows(
        0.0, background=background, hollow=(left, left), ground_texture=(0.0, 0.0),
        darkest=(0.0, 0.0), brightest=(1.0, 1.0),
    )  # fmt: skip
    mixture = synth.world.mixture
    source = Source.of(IDS, seed=0, split="train")
    coordinates = synth.placement(SHAPE, source("placement"))
    hollow = torch.zeros(len(IDS), 1, *SHAPE, dtype=torch.bool)
    hollow[:, :, 8:24, 8:24, 8:24] = True
    world = synth.placement.world(SHAPE)
    image = mixture(torch.zeros_like(hollow, dtype=torch.int32), hollow, coordinates, world, source)
    within, ground = image[:, 0, 11:21, 11:21, 11:21], image[:, 0, 30:, 30:, 30:]
    assert within.mean((1, 2, 3)).numpy() == pytest.approx(
        left * ground.mean((1, 2, 3)).numpy(), rel=1e-3, abs=1e-3
    )


def test_senseless_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="p must"):
        RandomHollow(p=1.5, rim=(0.0, 1.0))
    with pytest.raises(ValueError, match="rim"):
        RandomHollow(p=0.5, rim=(2.0, 1.0))
