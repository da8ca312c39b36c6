"""Hills: their heights, their sizes, and that they are the ground's alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from anystar_torch.augment.coordinates import Coordinates
from anystar_torch.compose import load_synthesizer
from anystar_torch.random import Source
from anystar_torch.synth.gmm import Mixture
from anystar_torch.synth.hills import RandomHills

WORLD = (128, 128, 128)


def source(count: int) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


def hills(p: float = 1.0, height: tuple[float, float] = (1.0, 1.0), *scales: int) -> RandomHills:
    return RandomHills(p=p, height=height, scales=scales or (4, 8, 16))


def test_heights_at_nodes_are_white_and_linear_in_between() -> None:
    field = hills(1.0, (0.5, 0.5), 8)
    nodes = field.field(WORLD, source(2))
    assert nodes.shape == (2, 1, 16, 16, 16)
    assert nodes.std().item() == pytest.approx(1.0, abs=0.03)
    neighbours = torch.corrcoef(torch.stack([nodes[:, :, 1:].flatten(), nodes[:, :, :-1].flatten()]))[0, 1]
    assert abs(neighbours.item()) < 0.05
    position = source(2).uniform("position", -60.0, 60.0, 3, 6, 6, 6)
    heights = field(position, WORLD, source(2))
    index = (position.double().numpy() / 63.5 + 1) / 2 * 15
    for b in range(2):
        expected = 0.5 * map_coordinates(nodes[b, 0].double().numpy(), index[b], order=1, mode="nearest")
        np.testing.assert_allclose(heights[b, 0].numpy(), expected, atol=1e-5)


def test_each_sample_has_hills_of_one_size() -> None:
    """Values a lattice apart are unlike; within the lattice they go together."""
    field = hills().field(WORLD, source(60))
    spread = field.std((1, 2, 3, 4))
    step = (field[:, :, 1:] - field[:, :, :-1]).std((1, 2, 3, 4)) / spread
    # of white noise sqrt(2) at its own nodes; halfway between nodes that are two or four times as far it is less
    kinds = torch.bucketize(step, torch.tensor([0.55, 1.1]))
    assert sorted(kinds.unique().tolist()) == [0, 1, 2]
    assert (step[kinds == 2] - 2**0.5).abs().max() < 0.05
    assert torch.bincount(kinds).min() > 8


def test_as_many_samples_as_asked_for_have_hills_of_heights_in_the_range() -> None:
    heights = hills(0.6, (0.1, 0.8)).heights(source(2000))
    there = heights > 0
    assert there.float().mean().item() == pytest.approx(0.6, abs=0.03)
    assert heights[there].min() < 0.11
    assert heights[there].max() > 0.79
    assert heights[there].min() >= 0.1
    assert heights[there].max() <= 0.8


def mixture(**changes: object) -> Mixture:
    """The generator's own with a flat ground of 100, objects of 180, and nothing random but what is changed."""
    made = load_synthesizer("rand").world.mixture
    ground = replace(made.background, mean=(100.0, 100.0), std=(0.0, 0.0))
    fixed = {"mean": (180.0, 180.0), "std": (0.0, 0.0), "darkest": (0.0, 0.0), "brightest": (1.0, 1.0)}
    return replace(made, background=ground, **(fixed | changes))


def test_the_ground_rises_by_its_share_of_the_contrast_and_objects_do_not() -> None:
    """Divided by what the same world is without hills, so that the texture is no part of it."""
    grid = Coordinates.of_grid((32, 32, 32), torch.full((3, 3), 128.0))
    objects = torch.zeros(3, 1, 32, 32, 32, dtype=torch.int32)
    objects[..., :16] = 1
    uneven = hills(1.0, (0.4, 0.4), 8)
    flat = mixture()(objects, grid, WORLD, source(3))
    image = mixture(hills=uneven)(objects, grid, WORLD, source(3))
    heights = uneven(grid.position, WORLD, source(3)("hills"))
    inner, outer = np.s_[..., :13], np.s_[..., 19:]  # out of the reach of the filter across the edge
    torch.testing.assert_close(image[inner], flat[inner], rtol=1e-5, atol=1e-3)
    expected = (100.0 + 80.0 * heights).clamp(min=0.0) / 100.0
    ratio = (image / flat)[outer]
    assert (ratio - expected[outer]).abs().mean() < 0.02  # the filter rounds the hills a little
    assert ratio.std().item() == pytest.approx(expected[outer].std().item(), rel=0.1)


def test_mix_is_as_it_was() -> None:
    assert load_synthesizer("mix").world.mixture.hills.p == 0.0


@pytest.mark.parametrize(
    "change",
    [{"p": 1.5}, {"height": (0.5, 0.1)}, {"height": (-0.1, 0.1)}, {"scales": []}, {"scales": [8, 4]}],
)
def test_what_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(change))} must"):
        replace(hills(), **change)
