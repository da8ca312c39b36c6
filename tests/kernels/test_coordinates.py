"""Positions of voxels: the Triton kernel, the native kernel and the torch operators agree."""

import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.kernels.coordinates import torch_evaluate
from anystar_torch.kernels.implementations import forced
from anystar_torch.random.source import Source

IDS = torch.tensor([0, 3, 8, 2**61])


def placed(shape):
    """The coordinates of a few samples with every kind of step, the density of the scene included."""
    synth = load_synthesizer("mix", shape=shape, seed=4)
    source = Source.of(IDS, seed=synth.seed, split=synth.split)
    coordinates = synth.placement(shape, source("placement"))
    return synth.scene.density(coordinates, synth.placement.scene_shape(shape), source("density"))


def compare(coordinates: Coordinates, implementation):
    limits = [step.limit for step in coordinates.steps]
    wanted = torch_evaluate(coordinates.shape, coordinates.displacement, coordinates._parameters(), limits)
    with forced(implementation):
        found = coordinates._places
    # a voxel within rounding of a mirror is on either side of it, at the same place
    assert (found.piece != wanted.piece).float().mean() < 1e-3
    same = (found.piece == wanted.piece).expand_as(found.position)
    torch.testing.assert_close(found.position[same], wanted.position[same], rtol=1e-6, atol=5e-5)
    torch.testing.assert_close(found.cover, wanted.cover, rtol=1e-5, atol=5e-5)
    apart = (found.fraction - wanted.fraction).abs()
    assert (
        torch.minimum(apart, 1.0 - apart).max() < 5e-5
    )  # the fraction of a voxel centre may be 0 or just below 1


SHAPES = [(8, 8, 8), (9, 20, 33), (33, 8, 64)]


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_native_equals_torch(shape):
    compare(placed(shape), "native")


@pytest.mark.interpreter
@pytest.mark.parametrize("shape", SHAPES[:2])
def test_triton_equals_torch(shape):
    pytest.importorskip("triton")
    compare(placed(shape), "triton")


@pytest.mark.parametrize("name", ["native", pytest.param("triton", marks=pytest.mark.interpreter)])
def test_the_outermost_voxel_centres_belong_to_the_inside(name):
    """A sample that is not turned touches both mirrors of each axis with its outermost voxels."""
    shape = (8, 63, 64)
    size = torch.tensor([shape], dtype=torch.float32)
    with forced(name):
        places = Coordinates.of_grid(shape, size).reflected((size - 1.0) / 2.0)._places
    assert (places.piece == 13).all()
    assert torch.equal(places.position, Coordinates.of_grid(shape, size).position)


def test_no_step_gives_the_voxel_centres():
    grid = Coordinates.of_grid((8, 9, 10), torch.full((2, 3), 16.0))
    assert torch.equal(grid.position[1, 2, 3, 4], torch.arange(10) - 4.5)
    assert (grid.cover == 1.0).all()
    assert not grid.piece.any()
    assert not grid.fraction.any()


@pytest.mark.long
def test_threads_change_no_bit():
    coordinates = placed((16, 16, 16))
    several = coordinates._places
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = placed((16, 16, 16))._places
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(several, alone, strict=True))
