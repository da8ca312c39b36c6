"""Sheets and chains: where the objects that are kept lie."""

from dataclasses import replace

import pytest
import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.arrangement import RandomArrangement, sheets
from anystar_torch.generator.scene.shapes import ABSENT
from anystar_torch.random.source import Source

SCENE = (128, 128, 128)
ALWAYS = RandomArrangement(
    p=1.0, chains=0.0, spacing=(50.0, 50.0), centre=300.0, filling=(1.0, 1.0), order=1.0
)


def balls(arrangement: RandomArrangement | None, count: int = 6):
    field = replace(
        load_synthesizer("zero_shot").scene.objects, arrangement=arrangement, occupancy=(0.5, 0.5)
    )
    source = Source.of(torch.arange(count), seed=0, split="test")("objects")
    return field.balls(torch.full((count,), 8.0), SCENE, source), source("arrangement")


def test_sheets_are_spheres() -> None:
    point = torch.tensor([[0.0, 3.0, 4.0], [0.0, 0.0, 7.5], [10.0, 0.0, 0.0]]).T.view(1, 3, 3, 1, 1)
    found = sheets(point, torch.zeros(1, 1, 3), torch.tensor([[5.0]]), torch.zeros(1, 1)).flatten()
    assert found.tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("chains", [0.0, 1.0])
def test_kept_objects_lie_on_the_sheets(chains: float) -> None:
    arrangement = replace(ALWAYS, chains=chains)
    drawn, source = balls(arrangement)
    kept = drawn.radius > ABSENT
    distance = arrangement.sort_key(torch.zeros_like(drawn.radius), drawn.centre, (63.5, 63.5, 63.5), source)
    for sample in range(len(kept)):
        others = ~kept[sample] & (drawn.centre[sample] > 20).all(0) & (drawn.centre[sample] < 100).all(0)
        assert distance[sample][kept[sample]].mean() < 0.6 * distance[sample][others].mean()
    layers = (16.0 / 50.0) ** (1.0 + chains)
    assert kept.flatten(1).sum(1).float().mean().item() == pytest.approx(layers * 6**3, rel=0.15)


@pytest.mark.long
def test_without_an_arrangement_and_at_chance_0_the_same_balls_are_kept() -> None:
    never, none = balls(replace(ALWAYS, p=0.0))[0], balls(None)[0]
    assert torch.equal(never.radius, none.radius)
    assert torch.equal(never.centre, none.centre)


@pytest.mark.long
def test_variety_widens_the_radii_of_a_sample() -> None:
    field = replace(load_synthesizer("zero_shot").scene.objects, arrangement=None, occupancy=(1.0, 1.0))
    source = Source.of(torch.arange(4), seed=0, split="test")
    spread = []
    for variety in ((1.0, 1.0), (1.5, 1.5)):
        drawn = replace(field, variety=variety).balls(torch.full((4,), 8.0), SCENE, source)
        spread.append(drawn.radius[drawn.radius > ABSENT].std().item())
    assert spread[1] == pytest.approx(1.5 * spread[0], rel=0.02)


@pytest.mark.long
@pytest.mark.parametrize("shape", [(64, 128, 192), (128, 128, 128)])
def test_sheets_are_centred_along_each_axis(shape: tuple[int, int, int]) -> None:
    """With a centre in the middle of the scene, sheets are spheres about the middle."""
    field = replace(
        load_synthesizer("zero_shot").scene.objects, arrangement=replace(ALWAYS, centre=0.0), jitter=0.0
    )
    source = Source.of(torch.arange(6), seed=0, split="test")("objects")
    drawn = field.balls(torch.full((6,), 8.0), shape, source)
    phase = source("arrangement").uniform("phase", 0.0, 1.0, 2)
    middle = torch.tensor([(n - 1) / 2.0 for n in shape]).expand(6, 2, 3)
    distance = sheets(drawn.centre, middle, torch.full((6, 2), 50.0), phase)[:, 0]
    kept = drawn.radius > ABSENT
    there = ((drawn.centre > 0) & (drawn.centre < torch.tensor(shape)[:, None, None, None] - 24)).all(1)
    for sample in range(6):
        assert (
            distance[sample][kept[sample]].max()
            <= distance[sample][there[sample] & ~kept[sample]].min() + 1e-4
        )
